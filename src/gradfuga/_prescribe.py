"""Prescribe: the remedies that treat the causes of a diagnosis, the most useful first."""

from __future__ import annotations

from collections.abc import Iterable

from ._catalog import collect
from ._contracts import AbstractRemedy
from ._edits import Advise, Initialize
from ._types import Diagnosis, Prescription, Verdict

MOST_PRESCRIPTIONS = 5  # a longer list is a catalogue, not a prescription
_NOT_ILL = frozenset({Verdict.HEALTHY, Verdict.INCONCLUSIVE})


def prescribe(
    diagnosis: Diagnosis,
    *,
    remedies: Iterable[AbstractRemedy] | None = None,
    most: int | None = MOST_PRESCRIPTIONS,
) -> tuple[Prescription, ...]:
    """Choose the remedies that treat the named causes of `diagnosis`.

    Args:
        diagnosis: of a sick training; a healthy or inconclusive one gets nothing.
        remedies: all of gradfuga's where left out; your own need no registration.
        most: how many to return; None for all that fit.

    Returns:
        At most `most`. Those that treat the largest cause come first; among them those made for
        it before those that help with many causes, then those that treat more of the symptom.
        No two make the same kind of edit until every kind was named once.

    Example:
        >>> from gradfuga import diagnose
        >>> from gradfuga.readings import Readings
        >>> prescribe(diagnose(Readings()))
        ()
    """
    if diagnosis.verdict in _NOT_ILL:
        return ()
    shares: dict[str, float] = {}
    for cause in diagnosis.causes:
        shares[cause.name] = shares.get(cause.name, 0.0) + cause.share
    known = (
        collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy).values()  # type: ignore[type-abstract]
        if remedies is None
        else remedies
    )
    fitting = [remedy for remedy in known if remedy.treats & shares.keys()]
    fitting.sort(
        key=lambda remedy: (
            -max(shares.get(cause, 0.0) for cause in remedy.treats),
            len(remedy.treats),
            -sum(shares.get(cause, 0.0) for cause in remedy.treats),
            remedy.code,
        )
    )
    alike = _units_alike(diagnosis)
    chosen = []
    for remedy in fitting:
        edits = tuple(remedy.prescribe(diagnosis))
        if edits and (not alike or all(isinstance(edit, (Initialize, Advise)) for edit in edits)):
            treated = tuple(name for name in shares if name in remedy.treats)
            chosen.append(Prescription(remedy.code, remedy.title, treated, remedy.safety, edits))
    return tuple(_of_every_kind(chosen)[:most])


def _units_alike(diagnosis: Diagnosis) -> bool:
    """Whether units start alike: scaled, normalised or bypassed they still do, only drawn not."""
    evidence = (each for finding in diagnosis.findings for each in finding.evidence)
    return any(each.statistic == "units_alike_share" for each in evidence)


def _of_every_kind(chosen: list[Prescription]) -> list[Prescription]:
    """Put the best of each kind of edit first, then the second best of each, and so on."""
    taken: dict[str, int] = {}
    turns = []
    for each in chosen:
        kind = each.edits[0].kind
        taken[kind] = taken.get(kind, -1) + 1
        turns.append((taken[kind], each))
    return [each for _turn, each in sorted(turns, key=lambda pair: pair[0])]

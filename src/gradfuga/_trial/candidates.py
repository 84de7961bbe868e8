"""Say what a trial may try: single prescriptions first, then several at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .._edits import Safety, SetOptimizer
from .._messages import _
from .._prescribe import prescribe
from .._types import Diagnosis, Prescription
from ..experiment import Treatment

_DECADE = 10.0  # the step of the usual search for a learning rate
_RAISED = "RX010"


def treatments_for(diagnosis: Diagnosis) -> tuple[Treatment, ...]:
    """Return what can be tried for `diagnosis`: all its prescriptions, mere advice left out.

    Where it has advice only, the learning rate by decades may still help.
    """
    found = tuple(
        Treatment(each.title, (each,), safety=each.safety)
        for each in prescribe(diagnosis, most=None)
        if any(edit.safety is not Safety.ADVICE for edit in each.edits)
    )
    return found or rates()


def rates() -> tuple[Treatment, ...]:
    """Return the learning rate a decade down and up: what a repair may need beside it.

    The rate of a script that did not learn was chosen for a gradient that did not arrive.
    """
    return tuple(
        Treatment(title, (Prescription(remedy, title, (), Safety.SAFE, (edit,)),))
        for remedy, title, edit in (
            ("RX009", _("Lower the learning rate"), SetOptimizer("lr", 1 / _DECADE, relative=True)),
            (_RAISED, _("Raise the learning rate"), SetOptimizer("lr", _DECADE, relative=True)),
        )
    )


def raised_further(treatment: Treatment) -> Treatment | None:
    """Return a treatment that does nothing but raise the learning rate, a decade further.

    None for any other, and for one that lowers it.
    """
    edits = [edit for edit in treatment.edits if isinstance(edit, SetOptimizer)]
    if set(treatment.remedies) != {_RAISED} or {edit.option for edit in edits} != {"lr"}:
        return None
    if len(edits) > 1 and not all(edit.relative for edit in edits):
        return None
    value = _DECADE * math.prod(edit.value for edit in edits)
    name = treatment.prescriptions[0].title.partition(" (")[0]
    title = f"{name} ({'×' if edits[0].relative else ''}{value:g})"
    made = replace(treatment.prescriptions[0], title=title, edits=(replace(edits[0], value=value),))
    return replace(treatment, title=title, prescriptions=(made,))


def combinations(bases: Sequence[Treatment], others: Iterable[Treatment]) -> tuple[Treatment, ...]:
    """Return each base together with each other treatment that makes other kinds of edits.

    Two that make the same kind would undo each other, relative changes of an optimizer's option
    apart: these multiply, so that a dose can be doubled.

    Example:
        >>> lower, raised = rates()
        >>> [each.remedies for each in combinations([lower], [lower, raised])]
        [('RX009', 'RX009')]
    """
    found: dict[frozenset[tuple[Prescription, int]], Treatment] = {}
    for base in bases:
        for other in others:
            if _fit(base, other):
                together = _together(base, other)
                parts = Counter(together.prescriptions)  # in whichever order they were joined
                found.setdefault(frozenset(parts.items()), together)
    return tuple(found.values())


def _fit(base: Treatment, other: Treatment) -> bool:
    if base.sources or other.sources:
        return False
    if _is_dose(base) and other.edits == base.edits[: len(other.edits)]:
        return True
    kinds = {edit.kind for edit in base.edits}
    return kinds.isdisjoint(edit.kind for edit in other.edits)


def _is_dose(treatment: Treatment) -> bool:
    edits = treatment.edits
    return bool(edits) and all(isinstance(e, SetOptimizer) and e.relative for e in edits)


def _together(base: Treatment, other: Treatment) -> Treatment:
    gravest = max(base.safety, other.safety, key=list(Safety).index)
    return Treatment(
        f"{base.title} + {other.title}",
        base.prescriptions + other.prescriptions,
        safety=gravest,
        lasting=base.lasting and other.lasting,
    )

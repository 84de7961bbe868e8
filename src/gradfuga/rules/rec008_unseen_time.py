"""A time axis that nothing can be said of.

What it finds
    A recurrent layer that is given one or two steps at a time; a recurrence that could not be
    opened; and a lag that the user states where no time axis is found, or where it is longer than
    the sequences.

Why it matters
    Silence would be taken for health. Where no gradient crosses time, or where it cannot be
    followed, a memory that is too short is not found.

Evidence
    ``time_steps``, the length of the longest sequence seen, against the lag that is stated, or
    against the three steps that a rate takes.

Known limits
    Always a note. Fewer than six steps of a loop over time are not told from a plain network. A
    convolution over time and an attention have no chain of states: their time is depth.

References
    docs/adr/0018-open-time-by-re-running.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Role, Severity

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class UnseenTime(AbstractRule):
    """Notes a time axis that nothing can be said of."""

    code: ClassVar[str] = "REC008"
    name: ClassVar[str] = "unseen-time"
    role: ClassVar[Role] = Role.NOTE

    fewest: int = 3  # steps: two lags, which a curve takes

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: on what is missing, or on a lag that nothing can be held against."""
        from ..analysis.conditions import has_time_axis  # noqa: PLC0415 (numpy)

        known = {
            path: int(case.readings.series(path, Kind.ACTIVATION, "time_steps")[1].max())
            for path in case.readings.paths(Kind.ACTIVATION, "time_steps")
        }
        longest = max(known, key=lambda path: known[path], default=None)
        if longest is None and has_time_axis(case.graph):
            message = _(
                "The model is recurrent, and its time axis could not be opened (a compiled or "
                "custom function, a checkpoint): how far back the gradient reaches is not known."
            )
        elif longest is None and case.lag is not None:
            message = _(
                "The task is said to need {lag} steps, and no time axis was found in the model: "
                "neither a recurrent layer nor a weight that is used again along one chain of "
                "steps. The lag was not judged."
            )
        elif longest is not None and known[longest] < self.fewest:
            message = _(
                "The longest sequence at '{path}' has a length of {steps}, too short to follow the "
                "gradient through time. If yours are longer, look at the order of their axes "
                "(batch_first)."
            )
        elif _beyond(case, known):
            message = _(
                "The task is said to need {lag} steps, and the longest sequence at '{path}' has "
                "{steps}: no gradient comes from before its start."
            )
        else:
            return ()
        steps = known.get(longest or "", 0)
        evidence = Evidence(
            longest or "",
            Kind.ACTIVATION,
            "time_steps",
            case.steps[-1] if case.steps else 0,
            float(steps),
            float(case.lag if case.lag is not None else self.fewest),
            "steps",
        )
        return (
            self.finding(
                severity=Severity.NONE,
                message=message.format(lag=case.lag, path=longest, steps=steps),
                axis=Axis.TIME,
                paths=(longest,) if longest else (),
                evidence=(evidence,) if longest else (),
            ),
        )


def _beyond(case: Case, known: Mapping[str, int]) -> bool:
    """Whether the lag that is stated is in no sequence, and no symptom says so already."""
    from ..analysis.remembering import memory_of  # noqa: PLC0415 (numpy)

    if case.lag is None or not known or case.lag < max(known.values()):
        return False
    return not memory_of(case).too_short


RULE = UnseenTime()

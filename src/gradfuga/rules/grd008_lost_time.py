"""A network that learns, and lost much of the run before its gradient arrived.

What it finds
    A training that has learned, in which the reach of some layer was below 1.30 decades for a
    quarter of the run or more. Once half of the way is made, only the time before half of the
    final progress counts.

Why it matters
    An adaptive optimizer can pull a network out of a bad start: every layer gets its learning
    rate, and after some turnovers of the weights the reach heals. The steps until then bought
    nothing but that. A better start may reach the same loss sooner.

Evidence
    ``lost_share`` of the run, against a quarter.

Known limits
    A note and no symptom: repaired ones of such networks are often no faster, so only a trial
    can tell.

References
    docs/how-it-judges.md (an accusation by lost time alone convicts healthy networks).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Role, Severity
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class LostTime(AbstractRule):
    """Notes a run that spent much of its time without a gradient in its first layers."""

    code: ClassVar[str] = "GRD008"
    name: ClassVar[str] = "lost-time"
    role: ClassVar[Role] = Role.NOTE
    needs: ClassVar[frozenset[str]] = frozenset({"norm", "baseline"})

    most_lost: float = 0.25  # of the run (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one mild note."""
        from ..analysis.alike import stays_alike  # noqa: PLC0415 (numpy)
        from ..analysis.build import REACH_LIMIT  # noqa: PLC0415 (numpy)
        from ..analysis.conditions import lost_share  # noqa: PLC0415 (numpy)

        progress = case.progress
        if not progress.informed or progress.poor or stays_alike(case) is not None:
            return ()
        lost = lost_share(case)
        if lost < self.most_lost:
            return ()
        message = _(
            "The network learns, but for {lost:.0%} of the run ({steps} steps) the gradient at its "
            "first layers was more than {limit} times smaller than at the output; another "
            "initialisation may save that time."
        ).format(lost=lost, steps=round(lost * case.total_steps), limit=times(REACH_LIMIT))
        return (
            self.finding(
                severity=Severity.MILD,
                axis=Axis.DEPTH,
                message=message,
                evidence=(
                    Evidence(
                        "loss",
                        Kind.ACTIVATION_GRAD,
                        "lost_share",
                        case.steps[-1],
                        lost,
                        self.most_lost,
                    ),
                ),
            ),
        )


RULE = LostTime()

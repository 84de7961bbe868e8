"""A gradient that grows along time before any update.

What it finds
    A recurrence whose Jacobians multiply: for a loss at one time the gradient is more than twenty
    times larger some steps before it than one step before it, at the first sampled step.

Why it matters
    The farthest steps dominate every update, the gradient's norm gets heavy tails, and one long
    sequence throws the weights away. Clipping then leaves next to nothing of the rest.

Evidence
    The largest growth since lag 1, in decades, against six scales (1.30), before the learning rate
    can have done anything; the rate per step and the leading Lyapunov exponent; the largest
    sampled gradient norm over the median one.

Known limits
    A trained network on chaotic data must have a positive exponent. Without a consequence this is
    a note.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063. Mikhaeil, Monfared and
    Durstewitz 2022, https://arxiv.org/abs/2110.07238.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ..analysis.remembering import heavy_tail
from ._time import statistic_evidence, time_finding
from ._words import plain, times

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.lag_profile import LagProfile


@final
@dataclass(frozen=True, slots=True)
class GrowthOverTime(AbstractRule):
    """Finds a gradient that explodes over time."""

    code: ClassVar[str] = "REC002"
    name: ClassVar[str] = "growth-over-time"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})

    limit: float = 1.30  # decades: as over depth

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on each recurrence that grows."""
        return tuple(
            self._finding(case, each) for each in case.first_lags if each.growth > self.limit
        )

    def _finding(self, case: Case, found: LagProfile) -> Finding:
        tail = heavy_tail(case)
        message = _(
            "Along time the gradient at '{path}' grows {factor} times within {steps} steps, {rate} "
            "times a step, before any update."
        ).format(
            path=found.path, factor=times(found.growth), steps=found.steps, rate=plain(found.rate)
        )
        if tail > _HEAVY:
            text = _("The largest gradient of the run is {tail} times the median one.")
            message += " " + text.format(tail=plain(tail))
        evidence = Evidence(
            found.path,
            Kind.ACTIVATION_GRAD,
            "growth_over_time",
            found.step,
            found.growth,
            self.limit,
            "decades",
        )
        lyapunov = statistic_evidence(case, found, "lyapunov", Kind.ACTIVATION_GRAD, 0.0)
        return time_finding(
            self,
            case,
            found,
            message=message,
            evidence=(evidence, *lyapunov),
            log_gain=found.growth,
        )


_HEAVY = 10.0  # chosen: a sample ten times the median is no matter of the batch


RULE = GrowthOverTime()

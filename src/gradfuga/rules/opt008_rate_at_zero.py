"""A schedule that has taken the learning rate to zero.

What it finds
    In a network that learns nothing, or far too little: a learning rate that was at zero for more
    than half of the run, and still is at its end.

Why it matters
    A schedule whose length is counted in epochs where it is stepped in batches, a warm-up that is
    multiplied by zero, a decay that is applied too often: the loop runs on, and no weight moves.

Evidence
    ``rate_time``, the share of the run with a rate above a thousandth of the largest, against one
    half; and the largest rate, which the schedule started from.

Known limits
    A schedule that ends at zero after a good run is no illness. A warm-up that still rises is
    not reported. Of several parameter groups the largest rate counts.

References
    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983 (cosine schedules).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ._toll import find_toll, toll_finding
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class RateAtZero(AbstractRule):
    """Blames a schedule that spends most of the run at zero."""

    code: ClassVar[str] = "OPT008"
    name: ClassVar[str] = "rate-at-zero"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"learning_rate"})
    cause: ClassVar[str] = "learning_rate_too_low"

    half: float = 0.5  # of a step, below which it is another step (chosen)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the schedule."""
        toll = find_toll(case, "schedule", half=self.half, fewest_steps=self.fewest_steps)
        if toll is None:
            return ()
        message = _(
            "The schedule has the learning rate at zero: only in {share} of the run was it above a "
            "thousandth of its largest value."
        ).format(share=plain(toll.kept))
        evidence = Evidence(
            "optimizer", Kind.UPDATE, "rate_time", case.steps[-1], toll.kept, self.half
        )
        return (toll_finding(self, case, toll, message=message, evidence=evidence),)


RULE = RateAtZero()

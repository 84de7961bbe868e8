"""A gradient scaler that skips step after step.

What it finds
    In a network that learns nothing, or far too little: more than half of the steps were skipped
    by `torch.amp.GradScaler`, because a gradient was infinite or NaN.

Why it matters
    A scaler halves its scale after every such step and skips it. Now and then that is its work.
    Where every step is skipped, some op gives an infinite gradient at any scale: the loop goes on,
    the loss stands still, and nothing says so. The scale falls until ordinary gradients underflow.

Evidence
    ``skipped_share``, skipped steps over all steps, against one half.

Known limits
    Which op broke the gradient is not said here; the tape's norms show the first that is not
    finite.

References
    Micikevicius et al. 2018, Mixed Precision Training, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import math
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
class SkippedSteps(AbstractRule):
    """Blames a gradient scaler that keeps most steps from the optimizer."""

    code: ClassVar[str] = "NUM003"
    name: ClassVar[str] = "skipped-steps"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"skipped_steps"})
    cause: ClassVar[str] = "precision_underflow"

    half: float = 0.5  # of a step, below which it is another step (chosen)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the gradient scaler."""
        toll = find_toll(case, "skipping", half=self.half, fewest_steps=self.fewest_steps)
        if toll is None:
            return ()
        message = _(
            "The gradient scaler has skipped {share:.0%} of the steps, because a gradient was "
            "infinite or NaN; its scale has come down to {scale}."
        ).format(share=1.0 - toll.kept, scale=plain(_last_scale(case)))
        evidence = Evidence(
            "optimizer", Kind.UPDATE, "skipped_share", case.steps[-1], 1.0 - toll.kept, self.half
        )
        return (toll_finding(self, case, toll, message=message, evidence=evidence),)


def _last_scale(case: Case) -> float:
    values = case.readings.series("optimizer", Kind.WEIGHT_GRAD, "loss_scale")[1].tolist()
    return values[-1] if values else math.nan


RULE = SkippedSteps()

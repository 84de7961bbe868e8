"""Gradients that are never cleared, so that every step repeats all steps before it.

What it finds
    Steps that begin with more than half of the gradient they end with: nothing was cleared since
    the step before. At least three sampled steps after the first one must show it.

Why it matters
    PyTorch adds every backward pass to ``.grad``. Without ``zero_grad()`` the optimizer follows
    the sum of all gradients since the start: a momentum without any friction, which overshoots
    until the units die or the loss swings for ever.

Evidence
    ``stale``: the gradient that was there before the first backward pass since the last step over
    the gradient after it, as the median of the samples after the first, against 0.

Known limits
    Accumulation over several backward passes before one step does not show here, as it should
    not. In a training that learns all the same it is a note, because it may be meant.

References
    PyTorch documentation of ``torch.optim.Optimizer.zero_grad``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._stale import STALE, leftover

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class GradientsNotZeroed(AbstractRule):
    """Blames gradients that pile up from step to step."""

    code: ClassVar[str] = "OPT004"
    name: ClassVar[str] = "gradients-not-zeroed"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"stale"})
    cause: ClassVar[str] = "gradients_not_zeroed"

    stale: float = STALE  # of the gradient: cleared ones leave exactly 0, uncleared ones most

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: a cause where nothing is learned, else a note."""
        left = leftover(case)
        if left is None or not left.share > self.stale:
            return ()
        sick = not (case.progress.informed or case.progress.weak)
        message = _(
            "The gradients are never zeroed: {share:.0%} of what a step sees was there before its "
            "backward pass. Call optimizer.zero_grad() in every step."
        ).format(share=min(left.share, 1.0))
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                evidence=(
                    Evidence("optimizer", Kind.WEIGHT_GRAD, "stale", left.step, left.share, 0.0),
                ),
                accuses=sick,
            ),
        )


RULE = GradientsNotZeroed()

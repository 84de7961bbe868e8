"""Lift the gradient into the range of its format.

What it changes
    The loss is multiplied by a large number before the backward pass, and the gradients are
    divided by it before the step: `torch.amp.GradScaler`. Or the format becomes bfloat16.

Why it helps
    A gradient of 1e-8 times 65,536 is well inside of float16. bfloat16 has the range of float32, so
    that nothing underflows in it.

Safety
    Unsafe: the arithmetic is another one, to within the rounding of its format.

Known limits
    It treats ``precision_underflow``. It does not treat gradients that vanish in float32 too, nor
    updates that the weights' format swallows. Clip after `scaler.unscale_(optimizer)`. bfloat16 has
    three significant bits less.

References
    Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetPrecision
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class ScaleLoss(AbstractRemedy):
    """Lifts the gradient into the range of its format."""

    code: ClassVar[str] = "RX023"
    name: ClassVar[str] = "scale-loss"
    treats: ClassVar[frozenset[str]] = frozenset({"precision_underflow"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the loss, or use a format with more range")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits."""
        if not named(diagnosis, self.treats):
            return ()
        if evidence_of(diagnosis, "precision_underflow", "skipped_share"):
            return ()
        return (SetPrecision("scaled"),)


REMEDY = ScaleLoss()

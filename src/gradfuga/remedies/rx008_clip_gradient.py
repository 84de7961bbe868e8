"""Bound the norm of the gradient before each step.

What it changes
    ``clip_grad_norm_`` between ``backward()`` and ``step()``.

Why it helps
    A step cannot become longer than the bound, so that one steep place does not throw the weights
    away. It holds an exploding network together until its cause is repaired.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``large_init``, ``learning_rate_too_high``, ``recurrent_expansion`` and
    ``unscaled_residual``. It does not treat a cause: the first layers of an exploding network take
    the whole bound, and the others get next to nothing. It does nothing for a vanished gradient,
    and a bound far below the usual norm stops the training. Unscale before clipping with a gradient
    scaler.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import ClipGradient, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import clipping_helps, named

_BOUND = 1.0  # the usual one, see the references; AutoClip takes it from the run


@final
class ClipGradientNorm(AbstractRemedy):
    """Bounds the norm of the gradient."""

    code: ClassVar[str] = "RX008"
    name: ClassVar[str] = "clip-gradient"
    treats: ClassVar[frozenset[str]] = frozenset(
        {
            "large_init",
            "unscaled_residual",
            "recurrent_expansion",
            "learning_rate_too_high",
        }
    )
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Clip the gradient's norm")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, where something grows."""
        if not named(diagnosis, self.treats) or not clipping_helps(diagnosis):
            return ()
        return (ClipGradient("norm", _BOUND),)


REMEDY = ClipGradientNorm()

"""Bound the gradient of each unit by the norm of its weights (AGC).

What it changes
    Before each step the gradient of every unit is shortened to 0.01 times the norm of the
    unit's weights.

Why it helps
    A step can change no unit by more than a set share of itself, whatever the scale of the loss
    is: no threshold has to be found.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``large_init``, ``learning_rate_too_high`` and ``unscaled_residual``. It does not
    treat the cause of an explosion. Weights that start at zero move slowly at first. It does
    nothing for a vanished gradient.

References
    Brock et al. 2021, https://arxiv.org/abs/2102.06171.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import ClipGradient, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import clipping_helps, named

_RATIO = 0.01  # the paper's


@final
class ClipUnits(AbstractRemedy):
    """Bounds each unit's gradient."""

    code: ClassVar[str] = "RX053"
    name: ClassVar[str] = "clip-units"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"large_init", "unscaled_residual", "learning_rate_too_high"}
    )
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Clip each unit's gradient (AGC)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, where something grows."""
        if not named(diagnosis, self.treats) or not clipping_helps(diagnosis):
            return ()
        return (ClipGradient("agc", _RATIO),)


REMEDY = ClipUnits()

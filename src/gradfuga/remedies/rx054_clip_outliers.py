"""Clip gradient norms that lie far outside of the run's own (ZClip).

What it changes
    Mean and variance of the gradient's norm are followed; a norm more than 2.5 standard
    deviations above is cut back.

Why it helps
    Ordinary steps keep their length, and spikes do not throw the weights away, at whatever
    scale the run lives.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``large_init``, ``learning_rate_too_high`` and ``unscaled_residual``. It does not
    treat a gradient that is large at every step. Norms above one are cut in any case, as in the
    paper.

References
    Kumar et al. 2025, ZClip, https://arxiv.org/abs/2504.02507.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import ClipGradient, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import clipping_helps, named

_DEVIATIONS = 2.5  # the paper's


@final
class ClipOutliers(AbstractRemedy):
    """Clips outliers."""

    code: ClassVar[str] = "RX054"
    name: ClassVar[str] = "clip-outliers"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"large_init", "unscaled_residual", "learning_rate_too_high"}
    )
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Clip outliers of the gradient (ZClip)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, where something grows."""
        if not named(diagnosis, self.treats) or not clipping_helps(diagnosis):
            return ()
        return (ClipGradient("zclip", _DEVIATIONS),)


REMEDY = ClipOutliers()

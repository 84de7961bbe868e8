"""Clip at a low quantile of the run's own gradient norms (AutoClip).

What it changes
    Each step's gradient is clipped at the tenth percentile of all norms so far.

Why it helps
    The threshold comes from the run's own ordinary steps; a few wild ones do not move it.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``learning_rate_too_high``. Nine steps of ten are shortened: the learning rate may
    have to rise. It does not treat a gradient that explodes along depth: the first norms are wild
    themselves, and set the bound. Under Adam, whose steps do not depend on the norm, it is not
    prescribed for a rate too high.

References
    Seetharaman et al. 2020, https://arxiv.org/abs/2007.14469.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import ClipGradient, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import clipping_helps, named

_PERCENTILE = 0.1  # the paper's


@final
class ClipByQuantile(AbstractRemedy):
    """Clips by the run's own norms."""

    code: ClassVar[str] = "RX055"
    name: ClassVar[str] = "clip-by-quantile"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_high"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Clip at the run's own usual norm")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, where something grows."""
        if not named(diagnosis, self.treats) or not clipping_helps(diagnosis):
            return ()
        return (ClipGradient("quantile", _PERCENTILE),)


REMEDY = ClipByQuantile()

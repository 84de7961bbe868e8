"""Take shorter steps.

What it changes
    The learning rate is divided by ten.

Why it helps
    A step stays below twice the inverse of the curvature, so that it leads downhill, and no unit
    is pushed out of the reach of all examples at once.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``learning_rate_too_high``. Units that are dead stay dead: start from fresh weights.
    It does not treat a gradient that explodes along depth, nor targets of a huge scale; it only
    hides them.

References
    LeCun et al. 1998, Efficient BackProp. Goyal et al. 2017, https://arxiv.org/abs/1706.02677
    (warm-up).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetOptimizer
from .._messages import _
from .._types import Diagnosis
from ._where import named

_FACTOR = 0.1  # one decade, the step of the usual search


@final
class LowerLearningRate(AbstractRemedy):
    """Shortens the steps."""

    code: ClassVar[str] = "RX009"
    name: ClassVar[str] = "lower-learning-rate"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_high"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Lower the learning rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the two ways to do it."""
        if not named(diagnosis, self.treats):
            return ()
        return (SetOptimizer("lr", _FACTOR, relative=True),)


REMEDY = LowerLearningRate()

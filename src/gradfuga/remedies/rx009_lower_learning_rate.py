"""Take shorter steps.

What it changes
    The learning rate is divided by ten, or raised to its value over the first hundred steps.

Why it helps
    A step stays below twice the inverse of the curvature, so that it leads downhill, and no unit
    is pushed out of the reach of all examples at once.

Safety
    Advice: only the optimizer changes.

Known limits
    Units that are dead stay dead: start from fresh weights. It does not treat a gradient that
    explodes along depth, nor targets of a huge scale; it only hides them.

References
    LeCun et al. 1998, Efficient BackProp. Goyal et al. 2017, https://arxiv.org/abs/1706.02677
    (warm-up).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named


@final
class LowerLearningRate(AbstractRemedy):
    """Shortens the steps."""

    code: ClassVar[str] = "RX009"
    name: ClassVar[str] = "lower-learning-rate"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_high"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Lower the learning rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the two ways to do it."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Divide the learning rate by ten and start from fresh weights: {code}").format(
            code="for group in optimizer.param_groups: group['lr'] /= 10"
        )
        warm = _("Or warm it up: {code}, with scheduler.step() in every step.").format(
            code="torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=100)"
        )
        return (Advise(action), Advise(warm))


REMEDY = LowerLearningRate()

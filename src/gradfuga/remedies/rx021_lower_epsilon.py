"""Put epsilon below the gradients.

What it changes
    ``eps`` of Adam, AdamW, RMSprop or their kind, to 1e-12 or 1e-15; or the loss is multiplied by
    a constant.

Why it helps
    Far above the gradient, epsilon alone decides the length of the step. Far below, every weight
    gets the learning rate that Adam promises.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``adam_epsilon``. It does not treat gradients that vanish on their way through the
    layers. The noise of weights without any gradient is amplified too. Below 1e-22 the second
    moment underflows in float32: scale the loss up instead.

References
    Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetOptimizer
from .._messages import _
from .._types import Diagnosis
from ._where import named

_EPSILON = 1e-15  # below gradients of 1e-12, above where the second moment underflows (1e-22)


@final
class LowerEpsilon(AbstractRemedy):
    """Puts epsilon below the gradients."""

    code: ClassVar[str] = "RX021"
    name: ClassVar[str] = "lower-epsilon"
    treats: ClassVar[frozenset[str]] = frozenset({"adam_epsilon"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Lower Adam's epsilon")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        return (SetOptimizer("eps", _EPSILON),)


REMEDY = LowerEpsilon()

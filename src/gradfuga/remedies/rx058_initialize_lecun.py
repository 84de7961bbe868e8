"""Draw the weights with variance 1 / fan_in (LeCun).

What it changes
    The weights are drawn with variance 1 / fan_in; the biases start at zero.

Why it helps
    Layers keep the variance of a signal of unit size; it is the scale that SELU and normalised
    activations are made for.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``large_init`` and ``small_init``. It does not repair a sigmoid, and is too small for
    ReLU by sqrt(2).

References
    LeCun et al. 1998, Efficient BackProp. Klambauer et al. 2017,
    https://arxiv.org/abs/1706.02515.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, named, wanted_gain

_RELU_FAMILY = 1.2  # between tanh's 1 and ReLU's sqrt(2)


@final
class InitializeLecun(AbstractRemedy):
    """Draws the weights for unit signals."""

    code: ClassVar[str] = "RX058"
    name: ClassVar[str] = "initialize-lecun"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init", "large_init"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialize the weights for unit signals (LeCun)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the initialization, unless the activations in use want a larger scale."""
        if not named(diagnosis, self.treats):
            return ()
        if not wanted_gain(diagnosis) < _RELU_FAMILY:
            return ()
        if main_cause(diagnosis) == "contracting_activation":
            return ()
        return (Initialize("fan_in", 1.0, paths=hidden_layers(diagnosis)),)


REMEDY = InitializeLecun()

"""Draw the weights at the scale that keeps signal and gradient of linear units (Glorot).

What it changes
    The weights are drawn with variance 2 / (fan_in + fan_out); the biases start at zero.

Why it helps
    For tanh, and for layers without an activation, it is the critical scale: the gradient falls
    by -0.9 decades in fifty layers instead of -11.9.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``large_init`` and ``small_init``. It does not repair a sigmoid (-5.7 decades in ten
    layers), and is too small for ReLU.

References
    Glorot and Bengio 2010.
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
class InitializeGlorot(AbstractRemedy):
    """Draws the weights for tanh."""

    code: ClassVar[str] = "RX057"
    name: ClassVar[str] = "initialize-glorot"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init", "large_init"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialize the weights for tanh (Glorot)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the initialization, unless the activations in use want a larger scale."""
        if not named(diagnosis, self.treats):
            return ()
        if not wanted_gain(diagnosis) < _RELU_FAMILY:
            return ()
        if main_cause(diagnosis) == "contracting_activation":
            return ()
        return (Initialize("fan_average", 1.0, paths=hidden_layers(diagnosis)),)


REMEDY = InitializeGlorot()

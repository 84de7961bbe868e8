"""Draw the weights at the scale that suits ReLU and its family.

What it changes
    The weights of linear layers and convolutions are drawn with variance 2 / fan_in, the biases
    are set to zero.

Why it helps
    Half of a ReLU is off, which halves the squared gradient; twice the variance makes up for it
    exactly, at any depth. Ten layers go from -3.9 decades to 0.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``large_init`` and ``small_init``. It does not repair a sigmoid, nor a tanh network,
    for which the scale is too large. GELU, SiLU and Mish drift away from any initialisation beyond
    ten or twenty layers: give them a normalisation or a skip connection too. Depthwise convolutions
    have a fan_in of k^2.

References
    He et al. 2015, https://arxiv.org/abs/1502.01852.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, named, wanted_gain

_RELU_FAMILY = 1.2  # between tanh's 1 and ReLU's sqrt(2)


@final
class InitializeForRelu(AbstractRemedy):
    """Draws the weights for ReLU."""

    code: ClassVar[str] = "RX002"
    name: ClassVar[str] = "initialize-for-relu"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init", "large_init"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialize the weights for ReLU (He)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the initialization, unless the activations in use want a smaller scale."""
        if not named(diagnosis, self.treats):
            return ()
        gain = wanted_gain(diagnosis)
        if gain < _RELU_FAMILY:
            return ()
        if main_cause(diagnosis) == "contracting_activation":
            return ()  # alone it does not repair a sigmoid
        return (Initialize("fan_in", math.sqrt(2.0), paths=hidden_layers(diagnosis)),)


REMEDY = InitializeForRelu()

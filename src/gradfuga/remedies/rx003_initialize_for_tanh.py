"""Draw the weights at the scale that suits tanh, and layers without an activation.

What it changes
    The weights are drawn as orthogonal matrices of gain 1.05; the biases are set to zero.

Why it helps
    A tanh has a slope of one at zero, so a weight scale of one keeps the gradient, which then
    falls more slowly than exponentially: -0.9 decades in fifty layers instead of -11.9.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``large_init`` and ``small_init``. It does not repair a sigmoid: Xavier initialisation
    leaves it at -5.7 decades in ten layers. ``calculate_gain("tanh")``, 5/3, is too much for deep
    networks: the gradient grows 10 % a layer.

References
    Glorot and Bengio 2010. Saxe, McClelland and Ganguli 2014, https://arxiv.org/abs/1312.6120
    (orthogonal). Pennington, Schoenholz and Ganguli 2017, https://arxiv.org/abs/1711.04735.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, named, wanted_gain

_GAIN = 1.05  # a little above one, for what the tanh's bend takes (Pennington et al. 2017)
_RELU_FAMILY = 1.2  # between tanh's 1 and ReLU's sqrt(2)


@final
class InitializeForTanh(AbstractRemedy):
    """Draws the weights for tanh."""

    code: ClassVar[str] = "RX003"
    name: ClassVar[str] = "initialize-for-tanh"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init", "large_init"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialize the weights for tanh (orthogonal)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the initialization, unless the activations in use want a larger scale."""
        if not named(diagnosis, self.treats):
            return ()
        if not wanted_gain(diagnosis) < _RELU_FAMILY:
            return ()
        if main_cause(diagnosis) == "contracting_activation":
            return ()  # alone it does not repair a sigmoid
        return (Initialize("orthogonal", _GAIN, paths=hidden_layers(diagnosis)),)


REMEDY = InitializeForTanh()

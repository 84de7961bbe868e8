"""Use tanh, the sigmoid that is centred and has a slope of one.

What it changes
    Every hidden sigmoid becomes a tanh, and the layers in front are drawn as orthogonal
    matrices of gain 1.05.

Why it helps
    The slope at zero is one instead of a quarter: twenty layers go from -16 decades to -0.6.
    The outputs stay bounded.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``. It does not treat a tanh, nor other activations than the
    sigmoid. ``calculate_gain('tanh')``, 5/3, is too much for deep networks. Without the
    initialisation the default weights still lose a quarter of a decade a layer.

References
    Glorot and Bengio 2010. LeCun et al. 1998, Efficient BackProp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, gated, hidden_layers, main_cause, places

_GAIN = 1.05  # a little above one, for what the tanh's bend takes (Pennington et al. 2017)
_SIGMOID = 1.0 / 16.0  # a sigmoid's squared slope is a sixteenth at most


@final
class SwapForTanh(AbstractRemedy):
    """Replaces sigmoids by tanh."""

    code: ClassVar[str] = "RX041"
    name: ClassVar[str] = "swap-for-tanh"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the sigmoid for tanh")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap with its initialization."""
        if main_cause(diagnosis) not in self.treats or gated(diagnosis):
            return ()
        slopes = evidence_of(diagnosis, "contracting_activation", "mean_squared_slope")
        if any(each.observed > _SIGMOID for each in slopes):
            return ()  # it is no sigmoid
        return (
            SwapActivation("tanh", paths=places(diagnosis, self.treats)),
            Initialize("orthogonal", _GAIN, paths=hidden_layers(diagnosis)),
        )


REMEDY = SwapForTanh()

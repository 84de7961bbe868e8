"""Use SELU, which drives its own signal to unit variance.

What it changes
    Hidden activations become SELU, and the weights are drawn with variance 1 / fan_in (LeCun).

Why it helps
    Mean zero and variance one are a stable fixed point of a SELU layer, so that no
    normalisation is needed; no unit is ever dead.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation`` and ``dead_relu``. The gradient grows 3.5 % a layer.
    Ordinary dropout, batch normalisation and biases break the fixed point: use ``nn.AlphaDropout``.
    It does not treat weights of another scale.

References
    Klambauer et al. 2017, https://arxiv.org/abs/1706.02515.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import gated, hidden_layers, main_cause, places


@final
class SwapForSelu(AbstractRemedy):
    """Replaces activations by SELU."""

    code: ClassVar[str] = "RX042"
    name: ClassVar[str] = "swap-for-selu"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation", "dead_relu"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the activation for SELU")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap with its initialization."""
        if main_cause(diagnosis) not in self.treats or gated(diagnosis):
            return ()
        return (
            SwapActivation("selu", paths=places(diagnosis, self.treats)),
            Initialize("fan_in", 1.0, paths=hidden_layers(diagnosis)),
        )


REMEDY = SwapForSelu()

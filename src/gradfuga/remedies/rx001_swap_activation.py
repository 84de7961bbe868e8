"""Use an activation whose slope is one where it works.

What it changes
    Every hidden sigmoid, or other activation with a small slope, becomes a ReLU, and the layers in
    front get He initialisation.

Why it helps
    A sigmoid's slope is 0.21 where it works, a tanh's and a suitably scaled ReLU's is one. Twenty
    sigmoid layers go from -16 decades to -0.1.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``. It does not treat weights of the wrong scale behind other
    activations. Sigmoids that are gates, as in an LSTM, or the output of a probability, stay. ReLU
    needs He initialisation with it, tanh the Xavier one, beyond some ten layers. It is prescribed
    only where the activation is the main cause.

References
    Glorot and Bengio 2010. He et al. 2015, https://arxiv.org/abs/1502.01852. Lu, Gould and
    Ajanthan 2020, https://arxiv.org/abs/2006.12169 (normalised activations).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import gated, hidden_layers, main_cause, places


@final
class SwapForRelu(AbstractRemedy):
    """Replaces activations that contract the gradient."""

    code: ClassVar[str] = "RX001"
    name: ClassVar[str] = "swap-activation"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the activation for one that passes the gradient")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap, and the way to keep a sigmoid."""
        if main_cause(diagnosis) not in self.treats or gated(diagnosis):
            return ()  # initialization comes first, and may be all that is missing
        return (
            SwapActivation("relu", paths=places(diagnosis, self.treats)),
            Initialize("fan_in", math.sqrt(2.0), paths=hidden_layers(diagnosis)),
        )


REMEDY = SwapForRelu()

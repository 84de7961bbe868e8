"""Use SiLU, with a normalization that holds its signal.

What it changes
    Hidden activations become SiLU, the weights are drawn with the gain that keeps a signal of
    unit variance, and a LayerNorm is put before each activation.

Why it helps
    SiLU is smooth and has no dead half. Its signal drifts to zero or to infinity by itself,
    from whatever scale; the LayerNorm holds it, and the gradient then grows by 3 % a layer.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    Without the normalisation or skip connections it fades beyond some twenty layers, whatever
    the initialisation: the critical point of the length map repels.

References
    Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. Hayou et al. 2019,
    https://arxiv.org/abs/1902.06853.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, InsertNormalization, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, places

_GAIN = 1.6765  # 1 / sqrt(E phi(z)^2), z ~ N(0, 1): gradfuga.theory.moments.forward_gain


@final
class SwapForSilu(AbstractRemedy):
    """Replaces activations by SiLU."""

    code: ClassVar[str] = "RX064"
    name: ClassVar[str] = "swap-for-silu"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the activation for SiLU, with LayerNorm")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap with its initialization and normalization."""
        if main_cause(diagnosis) not in self.treats:
            return ()
        layers = hidden_layers(diagnosis)
        return (
            SwapActivation("silu", paths=places(diagnosis, self.treats)),
            Initialize("fan_in", _GAIN, paths=layers),
            InsertNormalization("layer", paths=layers),
        )


REMEDY = SwapForSilu()

"""Use a smooth activation, GELU or SiLU, with a normalization that holds its signal.

What it changes
    Hidden activations become GELU (SiLU with ``to="silu"``), the weights are drawn with the gain
    that keeps a signal of unit variance, and a LayerNorm is put before each activation.

Why it helps
    Both are smooth and have no dead half. Their signal drifts to zero or to infinity by itself,
    from whatever scale; the LayerNorm holds it, and the gradient then grows by 3 % a layer.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``. It does not treat weights of the wrong scale behind other
    activations. Without the normalisation or skip connections it fades beyond some twenty layers,
    whatever the initialisation: the critical point of the length map repels. The two are so near
    each other (1.035 and 1.033 a layer) that a trial of one is a trial of both.

References
    Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415. Hayou et al. 2019,
    https://arxiv.org/abs/1902.06853.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, InsertNormalization, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import gated, hidden_layers, main_cause, places

# 1 / sqrt(E phi(z)^2), z ~ N(0, 1): gradfuga.theory.moments.forward_gain
_GAIN = {"gelu": 1.5335, "silu": 1.6765}


@final
@dataclass(frozen=True, slots=True)
class SwapForSmooth(AbstractRemedy):
    """Replaces activations by GELU or SiLU."""

    code: ClassVar[str] = "RX043"
    name: ClassVar[str] = "swap-for-smooth"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    to: Literal["gelu", "silu"] = "gelu"

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the activation for a smooth one, with LayerNorm")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap with its initialization and normalization."""
        if main_cause(diagnosis) not in self.treats or gated(diagnosis):
            return ()
        layers = hidden_layers(diagnosis)
        return (
            SwapActivation(self.to, paths=places(diagnosis, self.treats)),
            Initialize("fan_in", _GAIN[self.to], paths=layers),
            InsertNormalization("layer", paths=layers),
        )


REMEDY = SwapForSmooth()

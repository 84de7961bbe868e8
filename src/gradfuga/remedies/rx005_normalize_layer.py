"""Put a LayerNorm in front of each activation.

What it changes
    ``nn.LayerNorm`` after each layer; after a convolution the normalisation is over all channels
    and places of an example.

Why it helps
    It holds the signal at unit size whatever the weights do, so that GELU and SiLU cannot drift
    and the scale of the initialisation drops out. It needs no batch.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``missing_normalization``, ``plain_depth`` and ``small_init``. It does not repair a
    sigmoid: its gain a layer is 0.39, because LayerNorm does not take away the common part of all
    examples; BatchNorm does. Where contracting activations are the main cause it is not prescribed.
    Under plain SGD a deep ReLU network with LayerNorm alone stays slow.

References
    Ba, Kiros and Hinton 2016, https://arxiv.org/abs/1607.06450. Xiong et al. 2020,
    https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, InsertNormalization, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, named, normalized


@final
class NormalizeLayer(AbstractRemedy):
    """Puts a LayerNorm where the signal drifts."""

    code: ClassVar[str] = "RX005"
    name: ClassVar[str] = "normalize-layer"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"missing_normalization", "small_init", "plain_depth"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Normalize over the layer")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, unless a contracting activation is the main cause."""
        if not named(diagnosis, self.treats):
            return ()
        if main_cause(diagnosis) == "contracting_activation" or normalized(diagnosis):
            return ()
        return (InsertNormalization("layer", paths=hidden_layers(diagnosis)),)


REMEDY = NormalizeLayer()

"""Put a BatchNorm in front of each activation.

What it changes
    ``nn.BatchNorm1d`` or ``nn.BatchNorm2d`` between each layer and its activation.

Why it helps
    It divides by the spread that the batch really has, so that the scale of the weights drops out
    and the activation works at unit variance. It is the one normalisation that repairs a sigmoid
    too: subtracting the batch's mean keeps what differs between examples, and the gain of a layer
    becomes sqrt(E phi'^2 / Var phi), 1.02 for a sigmoid.

Safety
    Unsafe: the network computes another function afterwards. Training and evaluation differ; call
    ``model.eval()`` for the latter.

Known limits
    It treats ``contracting_activation``, ``missing_normalization``, ``saturated_activation`` and
    ``small_init``. It does not treat dead units whose biases hold them off, nor a rate that kills
    them. It wants batches of 16 or more: with 4, the gradient of a ReLU network grows 77 % a layer.
    Without a skip connection it explodes in very deep networks (1.21 a layer with ReLU).

References
    Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. Yang et al. 2019,
    https://arxiv.org/abs/1902.08129.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, InsertNormalization, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import gated, hidden_layers, named, normalized


@final
class NormalizeBatch(AbstractRemedy):
    """Puts a BatchNorm in front of each activation."""

    code: ClassVar[str] = "RX004"
    name: ClassVar[str] = "normalize-batch"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"contracting_activation", "saturated_activation", "small_init", "missing_normalization"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Normalize over the batch before each activation")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        if normalized(diagnosis) or gated(diagnosis):
            return ()
        return (InsertNormalization("batch", paths=hidden_layers(diagnosis)),)


REMEDY = NormalizeBatch()

"""Put a RMSNorm in front of each activation.

What it changes
    ``nn.RMSNorm`` between each layer and its activation.

Why it helps
    It holds the signal at unit size whatever the weights do, at less cost than LayerNorm, and
    needs no batch.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``missing_normalization``, ``plain_depth`` and ``small_init``. Like LayerNorm it does
    not repair a sigmoid (0.39 a layer), and it leaves the mean in. After a convolution GroupNorm
    with one group stands in for it.

References
    Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
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
class NormalizeSize(AbstractRemedy):
    """Puts a RMSNorm where the signal drifts."""

    code: ClassVar[str] = "RX047"
    name: ClassVar[str] = "normalize-size"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"missing_normalization", "small_init", "plain_depth"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Normalize the size of the signal before each activation")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, unless a contracting activation is the main cause."""
        if not named(diagnosis, self.treats):
            return ()
        if main_cause(diagnosis) == "contracting_activation" or normalized(diagnosis):
            return ()
        return (InsertNormalization("rms", paths=hidden_layers(diagnosis)),)


REMEDY = NormalizeSize()

"""Put a GroupNorm in front of each activation.

What it changes
    ``nn.GroupNorm`` between each layer and its activation.

Why it helps
    The scale of the weights drops out, and the signal cannot drift. It needs no batch: use it
    where batches are too small for BatchNorm (below 16 its gradient grows by up to 77 % a
    layer).

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``missing_normalization``, ``plain_depth`` and ``small_init``. Like LayerNorm it does
    not repair a sigmoid (0.39 a layer), because what is common to all examples stays. N values in a
    group cost the gradient sqrt(1 - 2 / N) a layer: groups are of 32 units, or of 8 channels with
    all their places. Both are a choice.

References
    Wu and He 2018, https://arxiv.org/abs/1803.08494.
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
class NormalizeGroups(AbstractRemedy):
    """Puts a GroupNorm where the signal drifts."""

    code: ClassVar[str] = "RX046"
    name: ClassVar[str] = "normalize-groups"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"missing_normalization", "small_init", "plain_depth"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Normalize groups of channels before each activation")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, unless a contracting activation is the main cause."""
        if not named(diagnosis, self.treats):
            return ()
        if main_cause(diagnosis) == "contracting_activation" or normalized(diagnosis):
            return ()
        return (InsertNormalization("group", paths=hidden_layers(diagnosis)),)


REMEDY = NormalizeGroups()

"""Give the embedding's rows the size that the layers above expect.

What it changes
    The embedding is drawn at unit variance.

Why it helps
    The normalisation that reads it then neither shrinks nor amplifies its gradient.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``embedding_scale``. It does not treat the layers above the embedding. Where the
    embedding is tied to the output layer, only the factor where it is used is free.

References
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class ScaleEmbedding(AbstractRemedy):
    """Scales the embedding."""

    code: ClassVar[str] = "RX018"
    name: ClassVar[str] = "scale-embedding"
    treats: ClassVar[frozenset[str]] = frozenset({"embedding_scale"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the embedding")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        return (Initialize("normal", 1.0, paths=places(diagnosis, self.treats)),)


REMEDY = ScaleEmbedding()

"""Give the embedding's rows the size that the layers above expect.

What it changes
    The embedding is drawn with standard deviation 1/sqrt(d) and multiplied by sqrt(d) where it is
    used, or drawn at unit variance.

Why it helps
    The normalisation that reads it then neither shrinks nor amplifies its gradient.

Safety
    Advice: trained embeddings are lost, or have to be rescaled with the layer that reads them.

Known limits
    Where the embedding is tied to the output layer, only the factor where it is used is free.

References
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class ScaleEmbedding(AbstractRemedy):
    """Scales the embedding."""

    code: ClassVar[str] = "RX018"
    name: ClassVar[str] = "scale-embedding"
    treats: ClassVar[frozenset[str]] = frozenset({"embedding_scale"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the embedding")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Scale the embedding where it is used: {code}").format(
            code="nn.init.normal_(embedding.weight, std=d ** -0.5); "
            "x = embedding(tokens) * d ** 0.5"
        )
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = ScaleEmbedding()

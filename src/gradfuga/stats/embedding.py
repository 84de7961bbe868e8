"""Embedding: which share of its rows the batch touched.

Only touched rows get a gradient: a norm over the whole table says little where they are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView

if TYPE_CHECKING:
    from torch import Tensor


@final
class EmbeddingStatistic(AbstractStatistic):
    """Measures an embedding or an embedding bag.

    * ``touched_share``: distinct rows of the batch over all rows.
    """

    code: ClassVar[str] = "embedding"
    nodes: ClassVar[frozenset[str]] = frozenset({"Embedding", "EmbeddingBag"})

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the embedding behind `view`."""
        indices, rows = view.saved("indices"), view.setting("weight_sym_argsize_0")
        if indices is None or not rows:
            return {}
        # Marking the rows needs no sort and, unlike unique(), does not wait for the device.
        touched = view.grad_output.new_zeros(int(rows)).float()
        return {"touched_share": touched.index_fill_(0, indices.reshape(-1), 1.0).mean()}


STATISTIC = EmbeddingStatistic()

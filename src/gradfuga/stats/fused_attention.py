"""Fused attention: how spread its rows are, worked out again for a few of them.

The fused kernels keep no probabilities. They save query and key, from which a few rows of
``softmax(scale Q K^T + mask)`` are made again, dropout left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._attention import spread
from ._squares import wide

if TYPE_CHECKING:
    from torch import Tensor

_AXES = 4  # batch, heads, positions, features
_BATCH, _HEADS, _ROWS, _SCORES = 4, 4, 64, 32_768  # looked at, at most; chosen for cost


@final
class FusedAttentionStatistic(AbstractStatistic):
    """Measures a fused scaled dot-product attention.

    Query ``[B, H, L, E]`` and key ``[B, G, S, E]``, with H a multiple of G. At most 4 examples,
    4 heads, 64 rows and about 32,768 scores are looked at.

    * ``entropy``: mean of the rows' ``H / ln n`` over the n positions that the mask allows.
    * ``jacobian_norm``: mean of the rows' ``|diag(p) - p p^T|_F``.
    """

    code: ClassVar[str] = "fused_attention"
    nodes: ClassVar[frozenset[str]] = frozenset(
        {
            "ScaledDotProductFlashAttention",
            "ScaledDotProductFlashAttentionForCpu",
            "ScaledDotProductEfficientAttention",
            "ScaledDotProductCudnnAttention",
            "ScaledDotProductFusedAttentionOverrideable",
        }
    )

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the attention behind `view`."""
        query, key = view.saved("query"), view.saved("key")
        if query is None or key is None or query.ndim != _AXES or query.numel() == 0:
            return {}
        heads, groups = query.shape[1], key.shape[1]
        if key.numel() == 0 or heads % groups:
            return {}
        # Heads are chosen so that each one's key is a stride of the keys, too.
        batch_step, group_step = _step(key.shape[0], _BATCH), _step(groups, _HEADS)
        key = key[::batch_step, ::group_step]
        heads_step = group_step * (heads // groups)
        seen = key.shape[0] * key.shape[1] * key.shape[2]
        row_step = _step(query.shape[2], max(1, min(_ROWS, _SCORES // seen)))
        chosen = (
            slice(None, None, batch_step),
            slice(None, None, heads_step),
            slice(None, None, row_step),
        )
        scale = view.setting("scale")
        scores = wide(query[chosen]).matmul(wide(key).transpose(-2, -1))
        scores = scores * (1 / math.sqrt(query.shape[3]) if scale is None else scale)
        mask = view.saved("attn_mask")
        mask = view.saved("attn_bias") if mask is None else mask
        if mask is not None:
            if mask.shape[-1] != scores.shape[-1]:
                return {}  # a kernel's own padded layout
            scores = _masked(scores, mask.expand(*query.shape[:3], -1)[chosen])
        if view.setting("is_causal"):
            scores = scores.masked_fill(_future(scores, row_step), -math.inf)
        elif mask is None:
            return spread(scores.softmax(-1), axis=-1)
        allowed = (scores > -math.inf).sum(-1).to(scores.dtype)
        return spread(scores.softmax(-1), axis=-1, allowed=allowed)


def _step(size: int, most: int) -> int:
    return max(1, -(-size // most))


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    if mask.is_floating_point():
        return scores + mask
    return scores.masked_fill(~mask, -math.inf)


def _future(scores: Tensor, row_step: int) -> Tensor:
    """Return where a score's key comes after its query: [rows, S], True there."""
    row = scores.new_ones(scores.shape[-2]).cumsum(0).sub_(1).mul_(row_step)
    column = scores.new_ones(scores.shape[-1]).cumsum(0).sub_(1)
    return column > row.unsqueeze(-1)


STATISTIC = FusedAttentionStatistic()

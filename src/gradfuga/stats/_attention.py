"""What a softmax over positions shows: how spread it is, and how much gradient passes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_TINY = 1e-37  # in float32's range; a probability below it adds nothing to an entropy


def spread(p: Tensor, *, axis: int, allowed: Tensor | None = None) -> Mapping[str, Tensor]:
    """Return the entropy and the Jacobian's norm, averaged over the rows of `p`.

    A row ``p`` of length T has the normalised entropy ``-sum p ln p / ln T``: 1 where it is
    uniform, 0 where one position takes all. The Jacobian ``diag(p) - p p^T`` has the squared
    Frobenius norm ``sum p^2 - 2 sum p^3 + (sum p^2)^2``: ``(1 - 1/T) / T`` where uniform, 0 where
    one position takes all.

    Args:
        p: probabilities, float64 where the device has it (the norm is a difference of near equals).
        axis: along which they sum to one.
        allowed: number of positions that each row may look at, of the shape of `p` without
            `axis`, in the dtype of `p`; rows with fewer than two are left out. None: all of them.

    Returns:
        ``entropy`` and ``jacobian_norm``, 0-d; empty where a row has fewer than two positions.
    """
    length = p.shape[axis]
    if p.numel() == 0 or length == 1:
        return {}
    squared = p.square()
    square = squared.sum(axis)
    cube = squared.mul(p).sum(axis)
    jacobian = (square - 2 * cube + square.square()).clamp_(min=0).sqrt_()
    # p ln p as a vectorised logarithm: xlogy takes ten times as long
    entropy = p.clamp(min=_TINY).log_().mul_(p).sum(axis).neg_()
    if allowed is None:
        return {"entropy": entropy.mean() / math.log(length), "jacobian_norm": jacobian.mean()}
    open_rows = allowed > 1
    rows = open_rows.sum()
    normalised = (entropy / allowed.log()).masked_fill_(~open_rows, 0)
    jacobian = jacobian.masked_fill_(~open_rows, 0)
    return {"entropy": normalised.sum() / rows, "jacobian_norm": jacobian.sum() / rows}

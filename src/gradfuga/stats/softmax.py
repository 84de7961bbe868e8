"""Softmax: how spread its rows are, and how much gradient its Jacobian lets through.

The gain of attention does not show a saturated softmax, since growing query and key weights make
up for it: entropy and Jacobian do (measured).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._attention import spread
from ._squares import wide

if TYPE_CHECKING:
    from torch import Tensor

# Autograd saves the axis -1 as an unsigned number.
_UNSIGNED = 2**64
_SAMPLE = 32_768  # values looked at, in float64 logarithms; chosen for cost


@final
class SoftmaxStatistic(AbstractStatistic):
    """Measures a softmax from its result, over rows of at most about 32,768 values together.

    * ``entropy``: mean of the rows' normalised entropy ``H / ln T``. T counts masked positions
      too, so that a row under a causal mask stays below 1: by about ``1 / ln T`` on average.
    * ``jacobian_norm``: mean of the rows' ``|diag(p) - p p^T|_F``.
    """

    code: ClassVar[str] = "softmax"
    nodes: ClassVar[frozenset[str]] = frozenset({"Softmax", "SafeSoftmax", "LogSoftmax"})

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the softmax behind `view`."""
        result, setting = view.saved("result"), view.setting("dim")
        if result is None or setting is None or result.ndim == 0 or result.numel() == 0:
            return {}
        axis = _axis(setting, result.ndim)
        rows = result.movedim(axis, -1)
        rows = wide(_some_rows(rows))
        return spread(rows.exp() if view.name.startswith("Log") else rows, axis=-1)


def _axis(setting: float, ndim: int) -> int:
    # As a float, 2**64 - 1 is 2**64: an axis that cannot be told apart is the last.
    axis = int(setting)
    if axis >= _UNSIGNED // 2:
        axis = min(axis - _UNSIGNED, -1)
    return axis % ndim


def _some_rows(rows: Tensor) -> Tensor:
    """Return a strided choice of whole rows along the last axis."""
    count, shape = rows.numel(), list(rows.shape)
    steps = [1] * rows.ndim
    while count > _SAMPLE and any(size > 1 for size in shape[:-1]):
        axis = max(range(rows.ndim - 1), key=shape.__getitem__)
        steps[axis] *= 2
        shape[axis] = -(-rows.shape[axis] // steps[axis])
        count = 1
        for size in shape:
            count *= size
    return rows[tuple(slice(None, None, step) for step in steps)]


STATISTIC = SoftmaxStatistic()

"""Slope of an elementwise activation where it works: its size, its flat part, its dead units.

The gradient that crosses an activation is multiplied by phi' element by element, so its gain is
``rms(phi')`` times the alignment of the slope with the gradient (theory, exact decomposition).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._portions import SAMPLE, portions, sampled
from ._slopes import READERS, Slope, slope_of

if TYPE_CHECKING:
    from torch import Tensor

# A unit value is saturated below this share of the steepest slope: |z| > 2.18 for tanh, 4.36 for
# sigmoid. Thresholds near 1e-7 see saturation four decades too late (measured).
SATURATED = 0.05
# A unit is dead where no value of the batch reaches this share of the steepest slope; chosen so
# that it holds for every activation and not only for ReLU (decision rule, measured error rates).
DEAD = 1e-6
_SEQUENCE = 3  # axes of [B, T, H]


@final
class SlopeStatistic(AbstractStatistic):
    """Measures phi' of an activation.

    * ``mean_squared_slope``: mean of phi'^2 over every value; exact.
    * ``slope_supremum``: sup |phi'| of the function, wherever it works now.
    * ``saturated_share``: share of values with |phi'| < 0.05 sup.
    * ``zero_slope_share``: share of values with a slope of exactly zero; only of activations that
      have a flat piece (a sigmoid's slope is zero by rounding alone).
    * ``dead_share``: share of units with |phi'| < 1e-6 sup for the whole batch.

    The shares are taken over a strided sample of about 32,768 values; those of a gate (ReLU and
    the like), but for the dead one, over all. A unit is axis 1 of ``[B, H]`` and of
    ``[B, C, H, W]`` and its like, the last axis of ``[B, T, H]``. A tensor with three axes could
    be ``[B, C, L]`` too: there a dead channel goes unseen, a dead layer does not. With fewer than
    two axes the whole tensor is one unit.
    """

    code: ClassVar[str] = "slope"
    nodes: ClassVar[frozenset[str]] = frozenset(READERS)

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the activation behind `view`."""
        slope = slope_of(view)
        if slope is None or slope.tensors[0].numel() == 0:
            return {}
        return _of_gate(slope) if slope.gate else _of_curve(slope)


def _of_curve(slope: Slope) -> Mapping[str, Tensor]:
    values = slope.evaluate(sampled(slope.tensors))
    zero = {"zero_slope_share": values.clone().eq_(0).mean()} if slope.has_zeros else {}
    squares = values.square_()
    mean_square = squares.mean() if _whole(slope) else _mean_square(slope)
    bound = slope.supremum * slope.supremum
    dead = _peaks(squares).lt_(DEAD * DEAD * bound).mean()
    saturated = squares.lt_(SATURATED * SATURATED * bound).mean()
    return {
        "mean_squared_slope": mean_square,
        "slope_supremum": _supremum(slope, mean_square),
        "saturated_share": saturated,
        "dead_share": dead,
        **zero,
    }


def _of_gate(slope: Slope) -> Mapping[str, Tensor]:
    is_open = slope.evaluate(sampled(slope.tensors))
    share = is_open.mean() if _whole(slope) else _mean_square(slope)
    closed = 1 - share
    supremum = _supremum(slope, share)
    return {
        "mean_squared_slope": share if slope.supremum == 1 else share * supremum * supremum,
        "slope_supremum": supremum,
        "saturated_share": closed,
        "zero_slope_share": closed,
        "dead_share": 1 - _peaks(is_open).mean(),
    }


def _whole(slope: Slope) -> bool:
    return slope.tensors[0].numel() <= SAMPLE


def _mean_square(slope: Slope) -> Tensor:
    """Return the mean of the squares over every value, portion by portion."""
    total: Tensor | None = None
    for part in portions(slope.tensors):
        value = slope.evaluate(part).square_().sum()
        total = value if total is None else total.add_(value)
    assert total is not None  # the tensors are not empty
    return total.div_(slope.tensors[0].numel())


def _supremum(slope: Slope, like: Tensor) -> Tensor:
    supremum = slope.supremum
    return like.new_full((), supremum) if isinstance(supremum, float) else supremum


def _peaks(values: Tensor) -> Tensor:
    """Return the largest value of each unit, one axis; 0-d where the tensor is one unit."""
    if values.ndim <= 1:
        return values.amax()
    unit = -1 if values.ndim == _SEQUENCE else 1
    return values.amax([axis for axis in range(values.ndim) if axis != unit % values.ndim])


STATISTIC = SlopeStatistic()

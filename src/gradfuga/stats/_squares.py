"""Sums of squares over all of a tensor, in float64 where the device has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._portions import portions

if TYPE_CHECKING:
    from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """Return the values in float64, in which the square of a float32 neither over- nor underflows.

    Apple's MPS has no float64; there float32 has to do. May return the same tensor.
    """
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def sum_of_squares(tensor: Tensor) -> Tensor:
    """Return the sum of the squares of all values, 0-d."""
    parts = [wide(part).square().sum() for (part,) in portions((tensor,))]
    return _total(parts)


def squares_by_channel(tensor: Tensor) -> Tensor:
    """Return the sum of squares of each channel, [C], of a tensor [B, C, ...]."""
    axes = [axis for axis in range(tensor.ndim) if axis != 1]
    return _total([wide(part).square().sum(axes) for (part,) in portions((tensor,))])


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total

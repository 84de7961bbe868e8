"""Sums of squares over all of a tensor, in float64 where the device has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._portions import full_precision, portions

if TYPE_CHECKING:
    from torch import Tensor

_SHORT = 65_536  # values up to which a float32 sum keeps six digits (measured)


def wide(tensor: Tensor) -> Tensor:
    """Return the values in float64, in which the square of a float32 neither over- nor underflows.

    Apple's MPS has no float64; there float32 has to do. May return the same tensor.
    """
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def sum_of_squares(tensor: Tensor) -> Tensor:
    """Return the sum of the squares of all values, 0-d."""
    parts = [wide(part).square().sum() for (part,) in portions((tensor,))]
    return total(parts)


def norm(tensor: Tensor) -> Tensor:
    """Return the L2 norm of all values, 0-d, of a tensor whose squares stay in float32's range.

    PyTorch's own sum loses digits with its length: 1e-5 of the norm of a million values.
    """
    if tensor.numel() <= _SHORT:
        return full_precision(tensor).square().sum().sqrt_()  # half the time of `Tensor.norm`
    return sum_of_squares(tensor).sqrt_()


def squares_by_channel(tensor: Tensor) -> Tensor:
    """Return the sum of squares of each channel, [C], of a tensor [B, C, ...]."""
    axes = [axis for axis in range(tensor.ndim) if axis != 1]
    return total([wide(part).square().sum(axes) for (part,) in portions((tensor,))])


def total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of the parts, of which there is at least one."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole

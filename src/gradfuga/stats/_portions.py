"""How much of a tensor a statistic looks at: a strided sample, or all of it in portions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# A share over this many values has a standard error of at most 0.003, and costs microseconds.
SAMPLE = 32_768
# Portions of this many values stay in a CPU's cache, so that their temporaries cost no memory
# traffic; on an accelerator a kernel launch costs more than the traffic.
_CACHED, _LAUNCHED = 65_536, 16_777_216
_FLOAT32_BYTES = 4


def sampled(tensors: Sequence[Tensor], limit: int = SAMPLE) -> tuple[Tensor, ...]:
    """Return the same strided view of each tensor, of at most about `limit` values.

    The stride falls on whichever axis is the longest, again and again, so that the batch, the
    units and the positions all stay represented. No random number is drawn.

    Args:
        tensors: all of one shape.
        limit: values wanted at most.

    Returns:
        Views; the tensors themselves where they are small enough.
    """
    shape = list(tensors[0].shape)
    count = tensors[0].numel()
    if count <= limit:
        return tuple(tensors)
    steps = [1] * len(shape)
    left = shape.copy()
    while count > limit:
        axis = max(range(len(left)), key=left.__getitem__)
        steps[axis] *= 2
        left[axis] = -(-shape[axis] // steps[axis])
        count = 1
        for size in left:
            count *= size
    index = tuple(slice(None, None, step) for step in steps)
    return tuple(tensor[index] for tensor in tensors)


def portions(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Yield views that together cover every value of the tensors, split along their first axis.

    Args:
        tensors: all of one shape.
    """
    first = tensors[0]
    limit = _CACHED if first.is_cpu else _LAUNCHED
    count = first.numel()
    if count <= limit or first.ndim == 0:
        yield tuple(tensors)
        return
    parts = min(first.shape[0], -(-count // limit))
    yield from zip(*(tensor.chunk(parts) for tensor in tensors), strict=True)


def full_precision(tensor: Tensor) -> Tensor:
    """Return half-precision values as float32, others as they are: perhaps the same tensor."""
    return tensor.float() if tensor.element_size() < _FLOAT32_BYTES else tensor

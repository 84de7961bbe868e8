"""Notice predictions that broadcasting holds against all targets, not each against its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The target is worked out from float32 values: what differs by less along an axis is the same.
_SAME = 1e-5


@dataclass(frozen=True, slots=True)
class Crossing:
    """Shapes of a prediction and its target of which broadcasting makes all pairs.

    Both are aligned with the pairs, with 1 along the axes where broadcasting repeats them.
    """

    prediction: tuple[int, ...]
    target: tuple[int, ...]


def crossing(prediction: Tensor, target: Tensor) -> Crossing | None:
    """Return the shapes where the batch of one runs along another axis than that of the other.

    `(N, 1)` beside `(N,)` makes N x N pairs. Broadcasting that is meant keeps the batch in step: an
    ensemble `(K, N, 1)` beside `(N, 1)`, quantiles `(N, Q)` beside `(N, 1)` or `(N, Q, 1)`
    beside `(N, 1, Q)`.

    Args:
        prediction: as the model made it.
        target: in the shape of the pairs.
    """
    pairs = tuple(target.shape)
    own = (1,) * (len(pairs) - prediction.dim()) + tuple(prediction.shape)
    if own == pairs or len(own) != len(pairs):
        return None
    held = tuple(1 if _repeats(target, axis) else size for axis, size in enumerate(pairs))
    lengths = [[size for size in each if size > 1] for each in (own, held)]
    starts = [next((a for a, s in enumerate(each) if s > 1), -1) for each in (own, held)]
    if lengths[0] != lengths[1] or not lengths[0] or starts[0] == starts[1]:
        return None
    return Crossing(own, held)


def _repeats(target: Tensor, axis: int) -> bool:
    """Whether the target is the same all along an axis; waits for the device, for odd shapes."""
    if target.shape[axis] <= 1 or target.stride(axis) == 0:
        return True
    apart = (target - target.narrow(axis, 0, 1)).abs().amax()
    return bool(apart <= _SAME * target.abs().amax().clamp_min(torch.finfo(target.dtype).tiny))

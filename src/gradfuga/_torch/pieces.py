"""Find the sequence that a piece was cut out of: truncated training feeds one piece a step."""

from __future__ import annotations

from torch import Tensor


def past_of(piece: Tensor, base: Tensor, *, axis: int | None) -> Tensor | None:
    """Return what `base` holds from its start up to the end of `piece`, `[B, T, ...]`.

    A slice of a tensor shares its memory: where the slice lies in it, and along which dimension,
    follows from offset and strides.

    Args:
        piece: a view of `base`, `[B, T, ...]`, `[T, B, ...]`, or one step `[B, ...]`.
        base: the tensor that it is a view of.
        axis: the dimension of `piece` that is time, None where it is one step.

    Returns:
        None where `piece` is no slice along time.

    Example:
        >>> import torch
        >>> text = torch.arange(12).reshape(2, 6)
        >>> past_of(text[:, 2:4], text, axis=1).tolist()
        [[0, 1, 2, 3], [6, 7, 8, 9]]
    """
    if base.dim() != piece.dim() + (axis is None) or piece.dim() == 0:
        return None
    start = _start(piece, base)
    places = _places(piece, base)
    if start is None or places is None:
        return None
    free = [a for a in range(base.dim()) if a not in places]
    along = free[0] if axis is None else places[axis]
    length = 1 if axis is None else piece.shape[axis]
    kept = [slice(0, start[along] + length)] * base.dim()
    for dimension, place in enumerate(places):
        if place != along:
            kept[place] = slice(start[place], start[place] + piece.shape[dimension])
    batch = places[0 if axis is None else 1 - axis]
    rest = [a for a in places if a not in (batch, along)]
    return base[tuple(kept)].permute(batch, along, *rest)


def _start(piece: Tensor, base: Tensor) -> tuple[int, ...] | None:
    """Return the coordinates in `base` of the first value of `piece`."""
    left = int(piece.storage_offset()) - int(base.storage_offset())
    start, strides = [0] * base.dim(), base.stride()
    for axis in sorted(range(base.dim()), key=lambda a: (-strides[a], -base.shape[a])):
        if left < 0 or strides[axis] <= 0:
            return None
        if base.shape[axis] > 1:
            start[axis], left = divmod(left, strides[axis])
    inside = all(at < size for at, size in zip(start, base.shape, strict=True))
    return tuple(start) if left == 0 and inside else None


def _places(piece: Tensor, base: Tensor) -> list[int] | None:
    """Return the dimension of `base` that each dimension of `piece` runs along."""
    places: list[int] = []
    for size, stride in zip(piece.shape, piece.stride(), strict=True):
        fit = [
            a
            for a in range(base.dim())
            if a not in places and base.stride(a) == stride and size <= base.shape[a]
        ]
        if not fit:
            return None
        places.append(next((a for a in fit if base.shape[a] == size), fit[0]))
    return places

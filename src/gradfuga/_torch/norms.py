"""Norms that neither overflow nor underflow, and wait for no device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .sharding import local

# A value that was measured: a number where the tensor lived on the CPU, a 0-d tensor on its
# device elsewhere. Nothing on the hot path waits for a device.
Measured = float | Tensor

# Squares of float32 values inside these bounds neither under- nor overflow in the sum.
_SMALL, _LARGE = 1e-15, 1e15
_FULL = frozenset({torch.float32, torch.float64, torch.complex64, torch.complex128})


def dense(tensor: Tensor) -> Tensor:
    """Return the values that a norm must see: those stored, for a sparse tensor; those here."""
    tensor = local(tensor)
    if tensor.layout is torch.strided:
        return tensor
    return tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()


def norm(tensor: Tensor) -> Measured:
    """Return the L2 norm of a tensor of any shape, right from 1e-300 to 1e300.

    On the CPU a float32 sum is taken first and repeated in float64 only where its squares could
    have left the range (a norm of 1e-24 is 0 in float32); elsewhere float64 throughout.
    """
    tensor = dense(tensor)
    if not tensor.is_cpu:
        wide: Tensor = torch.linalg.vector_norm(tensor, dtype=_wide(tensor))
        return wide
    if tensor.dtype not in (torch.float16, torch.bfloat16):
        value: float = torch.linalg.vector_norm(tensor).item()
        if _SMALL < value < _LARGE:
            return value
    return float(torch.linalg.vector_norm(tensor, dtype=_wide(tensor)).item())


def norms(tensors: Sequence[Tensor]) -> list[Measured]:
    """Return the L2 norms of many tensors, fused by device and dtype, in their order."""
    out: list[Measured] = [0.0] * len(tensors)
    values = [dense(tensor) for tensor in tensors]
    if values and all(value.dtype is torch.float32 and value.is_cpu for value in values):
        measured = torch._foreach_norm(values)  # noqa: SLF001 (as torch.nn.utils)
        for place, value in enumerate(measured):
            size: float = value.item()
            out[place] = size if _SMALL < size < _LARGE else norm(values[place])
        return out
    here: list[int] = []
    elsewhere: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, value in enumerate(values):
        if value.is_cpu and value.dtype in _FULL:
            here.append(place)
        else:
            elsewhere.setdefault((value.device, value.dtype), []).append(place)
    if here:
        measured = torch._foreach_norm([values[place] for place in here])  # noqa: SLF001 (as torch.nn.utils)
        for place, value in zip(here, measured, strict=True):
            number: float = value.item()
            out[place] = number if _SMALL < number < _LARGE else norm(values[place])
    for places in elsewhere.values():
        group = [values[place] for place in places]
        measured = torch._foreach_norm(group, 2, _wide(group[0]))  # noqa: SLF001
        for place, value in zip(places, measured, strict=True):
            out[place] = value.item() if value.is_cpu else value
    return out


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.complex128 if tensor.is_complex() else torch.float64


def resolve(values: Sequence[Measured]) -> list[float]:
    """Bring measured values to the host: one stack and one copy for each device and dtype."""
    out = [0.0] * len(values)
    waiting: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for position, value in enumerate(values):
        if isinstance(value, float):
            out[position] = value
        elif value.is_cpu:
            out[position] = float(value.item())
        else:
            waiting.setdefault((value.device, value.dtype), []).append((position, value))
    for held in waiting.values():
        stacked = torch.stack([value.reshape(()) for _, value in held])
        for (position, _), number in zip(held, stacked.tolist(), strict=True):
            out[position] = float(number)
    return out


def settled(value: Tensor) -> Measured:
    """Return the number that a 0-d tensor on the CPU holds, the tensor itself elsewhere."""
    return float(value.item()) if value.is_cpu else value


def is_zero(norm: Measured | None) -> bool:
    """Whether nothing is there, as far as known; a norm still on its device is not waited for."""
    return norm is None or (isinstance(norm, float) and norm == 0.0)


def joint(values: Sequence[Measured | None]) -> float:
    """Return the norm of everything together, from the norms of its parts."""
    return math.hypot(*resolve([value for value in values if value is not None]))

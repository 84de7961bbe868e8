"""Tell how much of a step the format of half-precision weights swallows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .joined import AnyOptimizer
from .norms import Measured, norm
from .parameters import Before
from .sharding import local

_FLOAT32_BYTES = 4


@torch.no_grad()
def swallowed_shares(
    optimizer: AnyOptimizer, before: Before
) -> tuple[list[Measured | None], list[Measured | None]]:
    """Return, for weights of half precision, the share of values that a step should have moved.

    First the share that stayed as they were, ``(w + d).to(dtype) == w`` with ``d != 0``; then |d|,
    the norm of the step that was wanted. None for other weights, and for optimizers whose step is
    not known from their state.

    Args:
        optimizer: it has just stepped.
        before: the weights as they were.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    shares: list[Measured | None] = []
    wanted: list[Measured | None] = []
    for parameter, weight in zip(before.parameters, before.weights, strict=True):
        step = None
        half = weight.element_size() < _FLOAT32_BYTES
        if half and parameter.grad is not None and weight.dtype == parameter.dtype:
            group = groups.get(id(parameter), {})
            state = optimizer.state.get(parameter, {})
            here = {k: local(v) if isinstance(v, Tensor) else v for k, v in state.items()}
            step = _step(local(parameter.grad), here, group)
        if step is None:
            shares.append(None)
            wanted.append(None)
            continue
        moving = step != 0
        count = moving.sum()
        lost = (moving & (weight == local(parameter))).sum()
        share = lost / count.clamp_min(1)
        shares.append(share.item() if share.is_cpu else share)
        wanted.append(norm(step))
    return shares, wanted


def _step(gradient: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor | None:
    """Return the step that the optimizer wanted to take, in float32."""
    rate = float(group["lr"]) if isinstance(group.get("lr"), int | float) else None
    if rate is None or gradient.layout is not torch.strided:
        return None
    first, second = state.get("exp_avg"), state.get("exp_avg_sq")
    if isinstance(first, Tensor) and isinstance(second, Tensor) and "betas" in group:
        count = float(state["step"])
        mean = first.float() / (1.0 - float(group["betas"][0]) ** count)
        square = second.float() / (1.0 - float(group["betas"][1]) ** count)
        adapted: Tensor = mean / (square.sqrt() + float(group["eps"]))
        return rate * adapted
    recent = state.get("square_avg")
    if isinstance(recent, Tensor) and "eps" in group:
        return rate * gradient.float() / (recent.float().sqrt() + float(group["eps"]))
    if "momentum" in group and "dampening" in group:  # SGD, whose buffer is the step
        buffer = state.get("momentum_buffer")
        return rate * (buffer if isinstance(buffer, Tensor) else gradient).float()
    return None

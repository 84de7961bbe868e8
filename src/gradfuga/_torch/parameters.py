"""The parameter tier: norms of weight, gradient and real update of every parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from .norms import Measured, dense, norms


@dataclass(frozen=True, slots=True)
class Before:
    """The optimizer's parameters just before its step.

    `weights` are copies, `gradient` the norms of what the optimizer is given (after clipping).
    """

    parameters: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    gradient: tuple[Measured, ...]


def trainable(optimizer: Optimizer) -> tuple[Tensor, ...]:
    """Return the optimizer's parameters that train, once each."""
    found: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if isinstance(parameter, Tensor) and parameter.requires_grad:
                found[id(parameter)] = parameter
    return tuple(found.values())


@torch.no_grad()
def before_step(parameters: Sequence[Tensor]) -> Before:
    """Copy the weights and measure the gradients that the optimizer is given."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    measured = iter(norms(gradients))
    return Before(
        parameters=tuple(parameters),
        weights=tuple(p.detach().clone() for p in parameters),
        gradient=tuple(next(measured) if p.grad is not None else 0.0 for p in parameters),
    )


@torch.no_grad()
def weight_norms(parameters: Sequence[Tensor]) -> list[Measured]:
    """Return |w| of each parameter."""
    return norms([p.detach() for p in parameters])


@torch.no_grad()
def update_norms(before: Before) -> list[Measured]:
    """Return |w after - w before| of each parameter; uses up the copies."""
    copies = list(before.weights)
    torch._foreach_sub_(copies, [p.detach() for p in before.parameters])  # noqa: SLF001
    return norms(copies)


@torch.no_grad()
def zero_share(tensor: Tensor) -> Measured:
    """Return the share of exact zeros among the values."""
    values = dense(tensor)
    filled, size = torch.count_nonzero(values), max(values.numel(), 1)
    return 1.0 - filled.item() / size if filled.is_cpu else 1.0 - filled / size


@torch.no_grad()
def nonfinite_count(tensor: Tensor, norm: Measured) -> Measured:
    """Return the number of NaN and infinite values; a finite norm tells that there are none."""
    if isinstance(norm, float) and math.isfinite(norm):
        return 0.0
    return torch.count_nonzero(~torch.isfinite(dense(tensor)))


@torch.no_grad()
def attenuation(optimizer: Optimizer, parameters: Sequence[Tensor]) -> list[Measured | None]:
    """Return how much of its step each parameter gets despite epsilon: mean √v/(√v + ε).

    1 where epsilon does not matter, 0 where it swallows the step; None for optimizers without a
    second moment (theory: Adam's step is lr · m/(√v + ε)).
    """
    settings = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    out: list[Measured | None] = []
    for parameter in parameters:
        state = optimizer.state.get(parameter, {})
        second = state.get("max_exp_avg_sq", state.get("exp_avg_sq", state.get("square_avg")))
        group = settings.get(id(parameter), {})
        eps = group.get("eps")
        if not isinstance(second, Tensor) or not isinstance(eps, float) or "acc_delta" in state:
            out.append(None)
            continue
        root = second.to(torch.float64).sqrt()
        betas = group.get("betas")
        steps = state.get("step")
        if isinstance(betas, tuple | list) and steps is not None and "exp_avg_sq" in state:
            root = root / (1.0 - float(betas[1]) ** torch.as_tensor(steps).to(root)).sqrt()
        moving = root > 0
        share = torch.where(moving, root / (root + eps), 0.0).sum() / moving.sum().clamp_min(1)
        out.append(share)
    return out

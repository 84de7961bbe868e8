"""What an optimizer that divides by the gradient's past size leaves of its step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .joined import AnyOptimizer
from .norms import Measured, settled
from .parameters import NUMPY, some
from .sharding import local

# A mean share over this many values has a standard error of at most 0.022, as a rule far less.
_MOST_ATTENUATED = 512


@torch.no_grad()
def attenuation(optimizer: AnyOptimizer, parameters: Sequence[Tensor]) -> list[Measured | None]:
    """Return how much of its step each parameter gets despite epsilon: mean √v/(√v + ε).

    1 where epsilon does not matter, 0 where it swallows the step; None for optimizers without a
    second moment (theory: Adam's step is lr · m/(√v + ε)). Of a large tensor a sample is taken.
    """
    settings = {
        id(p): group for group in optimizer.param_groups if "eps" in group for p in group["params"]
    }
    out: list[Measured | None] = [None] * len(parameters)
    if not settings:
        return out
    held: list[tuple[int, Tensor, float | Tensor]] = []
    for place, parameter in enumerate(parameters):
        state = optimizer.state.get(parameter, {})
        second = state.get("max_exp_avg_sq", state.get("exp_avg_sq", state.get("square_avg")))
        group = settings.get(id(parameter), {})
        eps = group.get("eps")
        if not isinstance(second, Tensor) or not isinstance(eps, float) or "acc_delta" in state:
            continue
        betas = group.get("betas")
        steps = state.get("step")
        if isinstance(betas, tuple | list) and steps is not None and "exp_avg_sq" in state:
            taken = steps.item() if isinstance(steps, Tensor) and steps.is_cpu else steps
            eps = eps * (1.0 - float(betas[1]) ** taken) ** 0.5  # the bias correction of √v
        if second.is_complex():  # real and imaginary parts have a moment each
            second = torch.view_as_real(second)
        held.append((place, some(local(second), _MOST_ATTENUATED), eps))
    shares = _kept_shares([second for _, second, _ in held], [eps for _, _, eps in held])
    for (place, _, _), share in zip(held, shares, strict=True):
        out[place] = share
    return out


def _kept_shares(moments: Sequence[Tensor], eps: Sequence[float | Tensor]) -> list[Measured]:
    """Return the mean of √v/(√v + ε) over the values that move; 0/0 counts as nothing kept."""
    here = all(v.is_cpu and v.dtype in NUMPY and v.numel() > 0 for v in moments)
    if not (here and moments and all(isinstance(each, float) for each in eps)):
        return [_kept_share(second, each) for second, each in zip(moments, eps, strict=True)]
    # all at once: taken one by one, they cost as much as the copies of the weights
    sizes = [second.numel() for second in moments]
    starts = np.cumsum([0, *sizes[:-1]])
    flat = torch.cat([second.reshape(-1) for second in moments]).numpy()
    roots = np.sqrt(flat, dtype=np.float64)
    moving = roots > 0.0
    kept = np.divide(
        roots, roots + np.repeat(np.asarray(eps), sizes), where=moving, out=np.zeros_like(roots)
    )
    counts = np.add.reduceat(moving.astype(np.float64), starts)
    shares: list[Measured] = (np.add.reduceat(kept, starts) / np.maximum(counts, 1.0)).tolist()
    return shares


def _kept_share(second: Tensor, eps: float | Tensor) -> Measured:
    root = second.to(torch.float64).sqrt()
    moved = torch.count_nonzero(root).clamp_min(1)
    return settled((root / (root + eps)).nansum() / moved)


@torch.no_grad()
def adagrad_shares(optimizer: AnyOptimizer, parameters: Sequence[Tensor]) -> list[Measured | None]:
    """Return what Adagrad's sum leaves of each parameter's step: mean |g| / sqrt(sum g^2).

    1 at the first step, about 1/sqrt(t) at step t under a steady gradient; nothing at all for
    other optimizers. Of a large tensor a sample is taken.
    """
    if not any("sum" in state for state in optimizer.state.values()):
        return []
    out: list[Measured | None] = []
    for parameter in parameters:
        total = optimizer.state.get(parameter, {}).get("sum")
        gradient = local(parameter.grad) if parameter.grad is not None else None
        strided = gradient is not None and gradient.layout is torch.strided
        if not isinstance(total, Tensor) or gradient is None or not strided:
            out.append(None)
            continue
        root = some(local(total), _MOST_ATTENUATED).to(torch.float64).sqrt()
        size = some(gradient, _MOST_ATTENUATED).to(torch.float64).abs()
        moving = torch.count_nonzero(size).clamp_min(1)
        out.append((size / root.clamp_min(1e-300)).sum() / moving)
    return out if any(value is not None for value in out) else []

"""Observe a training loop of Accelerate.

    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    with observe(model, optimizer) as observer:
        ...  # your loop, unchanged

`prepare` wraps both: the optimizer that steps is the one inside, and the paths are those of your
own model. ``gradfuga run`` needs none of this.
"""

from __future__ import annotations

import os

from torch import nn
from torch.optim import Optimizer

from .. import _observe
from ._session import refuse_missing

try:
    from accelerate.optimizer import AcceleratedOptimizer
    from accelerate.utils import extract_model_from_parallel
except ImportError as error:
    refuse_missing("accelerate", "accelerate", error)


def observe(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    budget: float = 0.01,
    every: int | None = None,
    out: str | os.PathLike[str] | None = None,
) -> _observe.Observer:
    """Observe the training of a prepared model by a prepared optimizer.

    Args:
        model: what `Accelerator.prepare` returned, or the model itself.
        optimizer: likewise.
        budget: largest share of the training's time that observing may take.
        every: sample each N-th step instead.
        out: a folder to record into.

    Returns:
        A context manager; its `readings` go to `diagnose`.
    """
    inner = optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
    root = extract_model_from_parallel(model)
    return _observe.observe(root, inner, budget=budget, every=every, out=out)

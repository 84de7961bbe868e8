"""One observed step, beside the same gradients taken by `torch.autograd.grad` alone."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from gradfuga._observe import observe
from gradfuga._types import Kind
from gradfuga.readings import Readings

Loss = Callable[[nn.Module], Tensor]


def observed(model: nn.Module, loss_of: Loss, *, steps: int = 1, lr: float = 0.0) -> Readings:
    """Train `model` for some observed steps, every one sampled."""
    torch.manual_seed(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
    return observer.readings


def norms_by_path(readings: Readings, step: int = 0) -> dict[str, float]:
    """Return |dL/d output| of every op as it was recorded."""
    out = {}
    for op in readings.graph.ops:
        steps, values = readings.series(op.path, Kind.ACTIVATION_GRAD, "norm")
        if step in steps:
            out[op.path] = float(values[steps == step][0])
    return out


def reference_norms(model: nn.Module, loss_of: Loss, paths: Iterable[str]) -> dict[str, float]:
    """Return |dL/d output| of the last call of each module, in NumPy, without our code.

    A hook keeps each module's output and hands on a copy, so that an op in place further on
    leaves what was kept alone.
    """
    kept: dict[str, Tensor] = {}

    def keep(path: str):
        def hook(module: nn.Module, args: object, output: object) -> object:
            first = output[0] if isinstance(output, tuple) else output
            kept[path] = first
            copy = first.clone()
            return (copy, *output[1:]) if isinstance(output, tuple) else copy

        return hook

    modules = dict(model.named_modules())
    handles = [modules[path].register_forward_hook(keep(path)) for path in paths]
    try:
        torch.manual_seed(7)
        loss = loss_of(model)
        gradients = torch.autograd.grad(loss, list(kept.values()))
    finally:
        for handle in handles:
            handle.remove()
    return {
        path: float(np.linalg.norm(gradient.detach().numpy().astype(np.float64).reshape(-1)))
        for path, gradient in zip(kept, gradients, strict=True)
    }


def complete(readings: Readings) -> None:
    """Assert that the graph hangs together and that every op of it was measured."""
    graph = readings.graph
    assert len({op.path for op in graph.ops}) == len(graph.ops)
    assert all(edge.consumer < edge.producer for edge in graph.edges)
    assert set(norms_by_path(readings)) == {op.path for op in graph.ops}

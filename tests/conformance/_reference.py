"""What each optimizer step of a training really was, by a plain float64 loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call

Weights = Mapping[str, Tensor]
Batch = tuple[Tensor, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]
Clip = Callable[[Mapping[str, Tensor]], float]


@dataclass
class Step:
    """One optimizer step: the weights around it, and what its gradient was taken of.

    Attributes:
        held: gradients that the training itself held after its last backward pass, unscaled.
    """

    before: Weights
    batches: tuple[Batch, ...]
    after: Weights = field(default_factory=dict)
    held: Weights = field(default_factory=dict)


class Log:
    """Notes the weights around every step of a training; works the truth out afterwards.

    Args:
        loss: of a model on one batch, as the training computes it.
        clip: the factor that the training puts on its gradients, from the exact ones.
    """

    def __init__(self, loss: Loss, clip: Clip | None = None) -> None:
        self.loss, self.clip = loss, clip
        self.twin: nn.Module | None = None
        self.steps: list[Step] = []

    @contextmanager
    def step(self, model: nn.Module, *batches: Batch) -> Iterator[None]:
        """Surround one optimizer step that adds up the losses of `batches`."""
        if self.twin is None:
            self.twin = copy.deepcopy(model).double()
        self.steps.append(Step(weights_of(model), batches))
        yield
        self.steps[-1].after = weights_of(model)

    def hold(self, model: nn.Module, scale: float = 1.0) -> None:
        """Note the gradients that the training holds now."""
        self.steps[-1].held = {
            name: p.grad.detach().to_dense().to(wide(p)) / scale
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    def gradient(self, step: Step) -> dict[str, Tensor]:
        """Return the exact gradient of the summed losses at the weights before `step`."""
        assert self.twin is not None
        leaves = {
            name: step.before[name].clone().requires_grad_(p.requires_grad)
            for name, p in self.twin.named_parameters()
        }
        twin = Called(self.twin, leaves)
        total = sum(self.loss(twin, (exact(x), exact(y))) for x, y in step.batches)
        wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
        given = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)  # type: ignore[arg-type]
        return {
            name: torch.zeros_like(leaf) if gradient is None else gradient.to_dense()
            for (name, leaf), gradient in zip(wanted.items(), given, strict=True)
        }


class Called(nn.Module):
    """A module that is called with other weights."""

    def __init__(self, module: nn.Module, weights: Weights) -> None:
        super().__init__()
        self.held = (module, weights)

    def forward(self, *args: Tensor) -> Tensor:
        module, weights = self.held
        return functional_call(module, dict(weights), args)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return float64 copies of the weights, by the names of the module inside any wrapper."""
    return {
        name.removeprefix("module."): p.detach().to(wide(p), copy=True)
        for name, p in model.named_parameters()
    }


def wide(tensor: Tensor) -> torch.dtype:
    """Return the dtype in which the truth about `tensor` is worked out."""
    return torch.complex128 if tensor.is_complex() else torch.float64


def exact(tensor: Tensor) -> Tensor:
    """Return `tensor` in double precision, integers as they are."""
    return tensor.to(wide(tensor)) if tensor.is_floating_point() or tensor.is_complex() else tensor


def clip_by_norm(bound: float) -> Clip:
    """Return the factor of `clip_grad_norm_`."""

    def factor(gradient: Mapping[str, Tensor]) -> float:
        whole = float(torch.stack([g.norm() for g in gradient.values()]).norm())
        return min(1.0, bound / (whole + 1e-6))

    return factor


def clip_by_value(bound: float) -> Clip:
    """Return |clipped| over |gradient| under `clip_grad_value_`."""

    def factor(gradient: Mapping[str, Tensor]) -> float:
        every = torch.cat([g.flatten() for g in gradient.values()])
        return float(every.clamp(-bound, bound).norm() / every.norm())

    return factor

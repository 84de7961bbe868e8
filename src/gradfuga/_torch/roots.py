"""Read what a backward pass starts from, and the loss that it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .norms import Measured
from .sharding import whole


def roots_of(args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors with a graph that `torch.autograd.backward` was called on."""
    given = args[0] if args else kwargs.get("tensors")
    if isinstance(given, Tensor):
        return [given] if given.grad_fn is not None else []
    if isinstance(given, list | tuple):
        return [each for each in given if isinstance(each, Tensor) and each.grad_fn is not None]
    return []


def is_weighted(args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether `torch.autograd.backward` was given the gradient to start from."""
    return (args[1] if len(args) > 1 else kwargs.get("grad_tensors")) is not None


def loss_of(roots: Sequence[Tensor]) -> Measured | None:
    """Return the loss: the sum of the scalars that backward starts from, None for others."""
    if len(roots) == 1 and type(roots[0]) is Tensor and roots[0].is_cpu:  # at nearly every step
        root = roots[0]
        return float(root.item()) if root.numel() == 1 and not root.is_complex() else None
    held = [whole(root) for root in roots]
    roots = [root for root in held if root is not None]
    if len(roots) < len(held):
        return None
    if not roots or any(root.numel() != 1 or root.is_complex() for root in roots):
        return None
    if roots[0].is_cpu:
        return float(sum(root.item() for root in roots))
    return torch.stack([root.detach().reshape(()) for root in roots]).sum()


def retains(args: tuple[object, ...], kwargs: Mapping[str, object]) -> bool:
    """Whether `torch.autograd.backward`, or `grad`, was told to keep the graph for another pass.

    `grad` takes the inputs in between, and is given everything else by name or by place.
    """
    names = ["tensors", "grad_tensors", "retain_graph", "create_graph"]
    if "outputs" in kwargs or "grad_outputs" in kwargs or (len(args) > 1 and args[1] is not None):
        names.insert(1, "inputs")
    asked = {**dict(zip(names, args, strict=False)), **kwargs}
    keeps = asked.get("retain_graph")
    return bool(asked.get("create_graph") if keeps is None else keeps)

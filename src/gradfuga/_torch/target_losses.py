"""Read what the network loses on every single target, off the node that computes its loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional

from ..flow import base_name
from .sharding import whole


@torch.no_grad()
def target_losses(node: Node) -> Tensor | None:
    """Return the loss of every target that `node` reads, before any reduction, shaped like them.

    NaN where a target is ignored. None for other losses, and for weighted classes, where a loss
    is no measure of what is known.

    Runs in the node's hook, while its saved tensors are alive.
    """
    name = base_name(node.name())
    found, target = _saved(node, "self"), _saved(node, "target")
    if found is None:
        return None
    if name == "Pow":  # (prediction - target) ** 2, as `loss` reads it
        return found.to(torch.float32).square()
    if target is None:
        return None
    if name in {"NllLoss", "NllLoss2D"} and found.dim() > 1:
        if _saved(node, "weight") is not None:
            return None
        ignored = target == int(getattr(node, "_saved_ignore_index", -100))
        picked = found.gather(1, target.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1)
        return picked.neg().to(torch.float32).masked_fill(ignored, torch.nan)
    if found.shape != target.shape:
        return None
    found, target = found.to(torch.float32), target.to(torch.float32)
    if name == "MseLoss":
        return (found - target).square()
    if name == "BinaryCrossEntropyWithLogits":
        return functional.binary_cross_entropy_with_logits(found, target, reduction="none")
    return None


def _saved(node: Node, name: str) -> Tensor | None:
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # changed in place, freed, or a checkpoint that unpacks only once
        return None
    here = whole(value) if isinstance(value, Tensor) else None
    return here.detach() if here is not None else None

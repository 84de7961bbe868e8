"""Recognise dropout that is a plain product: on the CPU it leaves no node of its own."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import OpRole, base_name
from .recovered import factor_of, shape_of
from .walk import Walk

# Of the share of zeros about its expected value: four standard deviations of a binomial.
_DEVIATIONS = 4.0
_FEWEST = 16  # values of a mask; of fewer the share of zeros tells nothing


def dropped_shares(path: Walk) -> dict[int, float]:
    """Return the probability by which each dropout of `path` drops values, by position."""
    found = {place: dropped_share(node) for place, node in enumerate(path.nodes)}
    return {place: p for place, p in found.items() if p is not None}


def with_dropout(path: Walk, dropped: Collection[int]) -> Walk:
    """Return `path` with the dropouts at `dropped` marked as structural.

    Their gain is known: it keeps the mean of the gradient and adds noise to its norm.
    """
    roles = [
        OpRole.STRUCTURAL if place in dropped else role for place, role in enumerate(path.roles)
    ]
    return replace(path, roles=tuple(roles))


def dropped_share(node: Node) -> float | None:
    """Return the probability by which `node` drops values, None where it is no dropout.

    A dropout mask is 0 or 1 / (1 - p), and about the share p of it is 0. Off the CPU dropout is an
    op of its own.
    """
    name = base_name(node.name())
    if name == "NativeDropout":
        return float(node._saved_p) if node._saved_train else None  # type: ignore[attr-defined]  # noqa: SLF001
    if name != "Mul":
        return None
    mask = factor_of(node)
    if not isinstance(mask, Tensor) or not mask.is_cpu or not mask.is_floating_point():
        return None
    shape = shape_of(node)
    if mask.numel() < _FEWEST or shape is None or mask.shape[0] != shape[0]:
        return None
    kept = float(mask.amax())
    if not 1.0 < kept < math.inf:
        return None
    p = 1.0 - 1.0 / kept
    zeros = mask.numel() - int(torch.count_nonzero(mask))
    if zeros + int(torch.count_nonzero(mask == kept)) < mask.numel():
        return None
    spread = math.sqrt(p * (1.0 - p) / mask.numel())
    # a share of exactly p is one way of many: a user's own mask, scaled up by what it leaves
    return p if abs(zeros / mask.numel() - p) <= _DEVIATIONS * spread else None

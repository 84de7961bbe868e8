"""Work out again in float32 what leaves an op in half precision, for a few examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .sharding import whole

_FLOAT32_BYTES = 4
_EXAMPLES = 4  # a share over their values is known well enough; chosen for cost
_SCORES = 2**20  # of attention, looked at at most; chosen for cost
_AXES = 4  # batch, heads, positions, features
_CONVOLUTIONS = frozenset({"Convolution", "ConvolutionOverrideable"})

Pairs = list[tuple[Tensor, Tensor]]


def again(node: Node, grad_output: Tensor, grad_inputs: Sequence[Tensor | None]) -> Pairs:
    """Return pairs of a gradient in float32 and the same as it left; nothing where that is full.

    Of a convolution that of its input, of a fused attention those of query, key and value.

    Args:
        node: it has just run.
        grad_output: the gradient at its output.
        grad_inputs: what left it.
    """
    if not any(g is not None and g.element_size() < _FLOAT32_BYTES for g in grad_inputs[:3]):
        return []
    if base_name(node.name()) in _CONVOLUTIONS:
        return _convolution(node, grad_output, grad_inputs[0])
    return _attention(node, grad_output, grad_inputs)


def _convolution(node: Node, grad_output: Tensor, left: Tensor | None) -> Pairs:
    given, weight = _saved(node, "input"), _saved(node, "weight")
    if left is None or not isinstance(given, Tensor) or not isinstance(weight, Tensor):
        return []
    some = slice(None, None, max(1, -(-len(given) // _EXAMPLES)))
    wide, _, _ = torch.ops.aten.convolution_backward(
        grad_output[some].float(),
        given[some].float(),
        weight.float(),
        None,
        _saved(node, "stride"),
        _saved(node, "padding"),
        _saved(node, "dilation"),
        _saved(node, "transposed"),
        _saved(node, "output_padding"),
        _saved(node, "groups"),
        [True, False, False],
    )
    return [(wide, left[some])]


def _attention(node: Node, grad_output: Tensor, left: Sequence[Tensor | None]) -> Pairs:
    """Without dropout, and with as many heads of keys as of queries; else nothing."""
    held = [_saved(node, name) for name in ("query", "key", "value")]
    tensors = [each for each in held if isinstance(each, Tensor) and each.ndim == _AXES]
    if len(tensors) < len(held) or _saved(node, "dropout_p"):
        return []
    shapes = [tuple(each.shape[:2]) for each in tensors]
    rows, columns = tensors[0].shape[2], tensors[1].shape[2]
    if len(set(shapes)) > 1 or rows * columns > _SCORES:
        return []
    batch, heads = shapes[0]
    most = max(1, _SCORES // max(1, rows * columns))
    every = max(1, -(-batch // min(_EXAMPLES, most)))
    step = max(1, -(-heads // max(1, most // -(-batch // every))))
    some = (slice(None, None, every), slice(None, None, step))
    query, key, value = (each[some].float() for each in tensors)
    scale = _saved(node, "scale")
    scale = scale if isinstance(scale, float) else 1.0 / math.sqrt(query.shape[-1])
    scores = scale * query @ key.mT
    mask = _saved(node, "attn_mask")
    mask = _saved(node, "attn_bias") if mask is None else mask
    if isinstance(mask, Tensor):
        if mask.shape[-1] != columns:
            return []  # a kernel's own padded layout
        chosen = mask.expand(batch, heads, rows, columns)[some]
        scores = (
            scores + chosen.float()
            if mask.is_floating_point()
            else scores.masked_fill(~chosen, -math.inf)
        )
    if _saved(node, "is_causal"):
        future = torch.ones(rows, columns, dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    share, given = scores.softmax(-1), grad_output[some].float()
    inner = given @ value.mT
    moved = scale * share * (inner - (share * inner).sum(-1, keepdim=True))
    wide = (moved @ key, moved.mT @ query, share.mT @ given)
    return [(w, g[some]) for w, g in zip(wide, left[:3], strict=True) if g is not None]


def _saved(node: Node, name: str) -> object:
    """Read what autograd saved; None where there is none, or where it is freed."""
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None
    return whole(value) if isinstance(value, Tensor) else value

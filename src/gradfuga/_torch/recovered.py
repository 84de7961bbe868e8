"""Get back what an op made in the forward pass, from what the tape has kept of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .sharding import whole
from .spies import RootCall

_DEEPEST = 12  # ops between a loss and the values that it compares
_NEGATIVE = 2**63  # from here on an unsigned number stands for a negative one
_KEEPS_RESULT = frozenset(
    {"Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Exp", "Sqrt", "Relu", "Reciprocal", "Rsqrt"}
)
# Same values in the same order under another shape.
RESHAPED = frozenset({"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias"})


def saved(node: Node, name: str) -> Tensor | None:
    """Return a saved tensor, None where there is none or autograd will not give it."""
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # changed in place, freed, or a checkpoint that unpacks only once
        return None
    here = whole(value) if isinstance(value, Tensor) else None
    return here.detach() if here is not None else None


def unspread(value: Tensor) -> Tensor:
    """Return `value` as it was before it was expanded to another shape: axes of stride 0 once."""
    for axis, (size, stride) in enumerate(zip(value.shape, value.stride(), strict=True)):
        if size > 1 and stride == 0:
            value = value.narrow(axis, 0, 1)
    return value


def factor_of(node: Node) -> Tensor | float | None:
    """Return the constant that a product or quotient of one learning factor holds."""
    learning = [place for place, (child, _) in enumerate(node.next_functions[:2]) if child]
    if len(learning) != 1:
        return None
    name = "other" if learning[0] == 0 else "self"
    value = getattr(node, f"_saved_{name}", None)
    return float(value) if isinstance(value, int | float) else saved(node, name)


def shape_of(node: Node) -> tuple[int, ...] | None:
    """Return the shape of what the op made."""
    known = node._input_metadata  # noqa: SLF001
    return tuple(known[0].shape) if known else None


def value_of(node: Node | None, calls: Sequence[RootCall], *, depth: int = 0) -> Tensor | None:
    """Return the value that `node` made, detached; None where the tape does not tell.

    Args:
        node: an op of a graph whose tensors are not freed yet.
        calls: of modules, with what came out of them.
        depth: of this call within itself.
    """
    if node is None or depth > _DEEPEST:
        return None
    if node.name() == "torch::autograd::AccumulateGrad":
        leaf: Tensor = node.variable  # type: ignore[attr-defined]  # AccumulateGrad has it
        return whole(leaf.detach())
    number = node._sequence_nr()  # noqa: SLF001
    for call in calls:
        for sequence, value in call.outputs:
            if sequence == number and tuple(value.shape) == shape_of(node):
                return value
    name = base_name(node.name())
    if name in _KEEPS_RESULT:
        return saved(node, "result")
    inputs = [child for child, _ in node.next_functions]
    if name in ("Mm", "Addmm", "Mv"):
        return _product(node, name, calls, depth)
    given = [value_of(child, calls, depth=depth + 1) for child in inputs if child is not None]
    known = [value for value in given if value is not None]
    if not known or len(known) < len(given):
        return None
    if name in ("Add", "Sub", "Mul", "Div"):
        return _combined(node, name, known)
    return _moved(node, name, known[0]) if len(known) == 1 else None


def _product(node: Node, name: str, calls: Sequence[RootCall], depth: int) -> Tensor | None:
    """Return the output of a linear layer: its input is kept wherever its weight learns."""
    left, right = {"Addmm": ("mat1", "mat2"), "Mv": ("self", "vec")}.get(name, ("self", "mat2"))
    slots = node.next_functions[1:] if name == "Addmm" else node.next_functions
    factors = []
    for field, (child, _) in zip((left, right), slots, strict=False):
        kept = saved(node, field)
        factors.append(kept if kept is not None else value_of(child, calls, depth=depth + 1))
    if len(factors) != 2 or any(each is None for each in factors):  # noqa: PLR2004
        return None
    out: Tensor = factors[0] @ factors[1]  # type: ignore[operator]  # neither is None
    if name != "Addmm":
        return out
    bias = value_of(node.next_functions[0][0], calls, depth=depth + 1)
    plain = getattr(node, "_saved_alpha", 1) == 1 and getattr(node, "_saved_beta", 1) == 1
    return out + bias if bias is not None and plain else None


def _combined(node: Node, name: str, known: Sequence[Tensor]) -> Tensor | None:
    """Return a sum, difference, product or quotient."""
    if name in ("Add", "Sub"):
        if len(known) != 2:  # noqa: PLR2004 (the constant summand is not kept)
            return None
        return torch.add(known[0], known[1] if name == "Add" else -known[1],
                         alpha=getattr(node, "_saved_alpha", 1))  # fmt: skip
    other: Tensor | float | None = known[1] if len(known) > 1 else factor_of(node)
    if other is None:
        return None
    if name == "Mul":
        return known[0] * other
    return known[0] / other if node.next_functions[0][0] is not None else None


def _moved(node: Node, name: str, value: Tensor) -> Tensor | None:
    """Return the value that an op without arithmetic made of `value`."""
    shape = shape_of(node)
    if name in RESHAPED and shape is not None:
        return value.reshape(shape)
    if name == "Expand" and shape is not None:
        return value.expand(shape)
    if name == "T":
        return value.t()
    if name == "Neg":
        return -value
    if name == "Sum":
        return None if shape is None else _summed(value, shape)
    if name == "Select":
        dim, index = (axis_of(getattr(node, f"_saved_{each}")) for each in ("dim", "index"))
        return value.select(dim, index)
    return None


def _summed(value: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Return the sum over the one axis that `shape` lacks or has of size 1."""
    for axis in reversed(range(value.dim())):
        total = value.sum(axis, keepdim=True)
        if tuple(total.shape) == shape or tuple(total.squeeze(axis).shape) == shape:
            return total.reshape(shape)
    return None


def axis_of(value: int) -> int:
    """Return an axis that autograd keeps as an unsigned number: -1 comes as 2^64 - 1."""
    return value - 2**64 if value >= _NEGATIVE else value

"""Find the data that a network was fed, on the tape: of programs that call no module with it."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .recovered import saved
from .walk import Walk

# Where an op takes its data, and the saved tensor that is it.
_DATA = {
    "Mm": (0, "self"),
    "Addmm": (1, "mat1"),
    "Mv": (0, "self"),
    "Convolution": (0, "input"),
    "Embedding": (0, "indices"),
}


def fed(path: Walk) -> tuple[Tensor, ...]:
    """Return what enters the layers of `path` without a gradient of its own, each tensor once."""
    found: dict[int, Tensor] = {}
    for place, node in enumerate(path.nodes):
        if path.leaves[place]:
            data = _data(node)
            if data is not None:
                found[data.data_ptr()] = data
    return tuple(found.values())


def _data(node: Node) -> Tensor | None:
    name = base_name(node.name())
    slot, field = _DATA.get(name, (-1, ""))
    if slot < 0:
        return None
    if name != "Embedding" and node.next_functions[slot][0] is not None:
        return None
    return saved(node, field)

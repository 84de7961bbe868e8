"""Tell how a term of the loss enters the total: in proportion, under a root, or otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch.autograd.graph import Node

from ..flow import OpRole, base_name
from .recovered import shape_of
from .walk import Walk

# Structural ops hand values on, add them up or take them apart; but these choose or bend.
_CHOOSING = frozenset(
    {
        "Max", "Min", "Amax", "Amin", "Logsumexp", "Std", "Var", "Norm", "LinalgVectorNorm",
        "MaxPool1DWithIndices", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "MkldnnMaxPool2D",
        "MkldnnMaxPool3D", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D",
    }
)  # fmt: skip
_SUMS = frozenset({"Add", "Sub", "Rsub", "Cat", "Stack", "AddN", "Where", "Hstack", "Nansum"})
_LINEAR = frozenset({"Neg", "NllLoss", "NllLoss2D"})
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class LossPath:
    """The power to which values enter the total loss, None for those that enter otherwise.

    Attributes:
        ops: of each op's output.
        edges: of what enters an op, by (consumer, slot).
        consumers: of each op's output, as (consumer, slot).
    """

    ops: Mapping[int, float | None]
    edges: Mapping[tuple[int, int], float | None]
    consumers: Mapping[int, Sequence[tuple[int, int]]]


def loss_path(path: Walk) -> LossPath:
    """Return to which power every op's output enters the total loss.

    1 where the total is a weighted sum of the output with weights that do not learn; 0.5 where it
    is that of the sum's square root (`sqrt(mse)`). A term that another part of the network
    weighs, as a focal loss and learned variances do, has no constant to be held against.
    """
    above: dict[int, list[tuple[int, int]]] = {}
    below: dict[int, set[int]] = {}
    for consumer, slot, producer in path.edges:
        above.setdefault(producer, []).append((consumer, slot))
        below.setdefault(consumer, set()).add(producer)
    found: dict[int, float | None] = {}
    edges: dict[tuple[int, int], float | None] = {}
    for place in range(len(path.nodes)):
        if place in path.roots:
            found[place] = 1.0
            continue
        for consumer, slot in above.get(place, ()):
            power = _through(path, consumer, slot, below, found[consumer])
            edges[consumer, slot] = power
        powers = {edges[edge] for edge in above.get(place, ())}
        found[place] = powers.pop() if len(powers) == 1 else None
    return LossPath(found, edges, above)


def _through(
    path: Walk, place: int, slot: int, below: Mapping[int, set[int]], power: float | None
) -> float | None:
    if power is None:
        return None
    node = path.nodes[place]
    own = _power_of(node)
    if own is not None:
        return power * own
    name = base_name(node.name())
    if name in ("Mul", "Div"):
        learns = len(below[place]) > 1 or bool(path.leaves[place])
        return None if learns or (name == "Div" and slot) else power
    sums = name in _SUMS or name in _LINEAR
    hands_on = path.roles[place] is OpRole.STRUCTURAL and name not in _CHOOSING
    return power if sums or hands_on else None


def _power_of(node: Node) -> float | None:
    """Return the power that an op takes one number to, None for other ops."""
    name, shape = base_name(node.name()), shape_of(node)
    if shape is None or any(size != 1 for size in shape):
        return None
    if name == "Sqrt":
        return _HALF
    exponent = getattr(node, "_saved_exponent", None) if name == "Pow" else None
    return float(exponent) if isinstance(exponent, int | float) else None

"""Find the op that made the first NaN or infinity, in the graph of a loss that is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import final

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .norms import Measured
from .parts import Parts
from .recovered import saved, value_of
from .walk import Walk, walk

_PART = "the search for the first NaN"
_MOST_SEARCHES = 3  # a training that goes on with NaN weights shows nothing new
_RESULTS = ("result", "out", "output")
_OPERANDS = {"self": 0, "input": 0, "other": 1, "weight": 1, "mat2": 1, "tensor": 1, "vec": 1}
_OPERANDS_OF: Mapping[str, Mapping[str, int]] = {
    "Addmm": {"mat1": 1, "mat2": 2},
    "Addcmul": {"tensor1": 1, "tensor2": 2},
    "Addcdiv": {"tensor1": 1, "tensor2": 2},
    "MseLoss": {"self": 0, "target": 1},
    "SmoothL1Loss": {"self": 0, "target": 1},
    "HuberLoss": {"self": 0, "target": 1},
    "BinaryCrossEntropy": {"self": 0, "target": 1, "weight": 2},
    "BinaryCrossEntropyWithLogits": {"self": 0, "target": 1, "weight": 2},
    "ScaledDotProductFlashAttentionForCpu": {"query": 0, "key": 1, "value": 2},
}
# These put infinities where they are meant: scores that a softmax is to leave out.
_MASKS = frozenset({"MaskedFill", "Where", "Add", "Sub", "CopySlices", "IndexPut"})
# A constant operand that the tape does not keep.
_UNKEPT = frozenset({"Add", "Sub", "Rsub", "Where", "Cat", "Stack"})
# Their slope is infinite, or none, at the edge of where they are defined.
_SINGULAR = frozenset(
    {
        "Sqrt", "Rsqrt", "Reciprocal", "Pow", "Div", "Log", "Log1P", "Acos", "Asin", "Std", "Var",
        "Norm", "LinalgVectorNorm", "Atan2", "Exp", "Cdist", "Dist",
    }
)  # fmt: skip
_MOST_SUSPECTS = 3
_FINITE, _INFINITE, _NAN = 0, 1, 2


class Origin(Enum):
    """Where the first number that is none came from."""

    OP = "op"
    CONSTANT = "constant"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class Breakage:
    """The first op of a forward pass whose output is not finite although its inputs are.

    Attributes:
        walk: the ops.
        origin: the op itself, a constant that enters it (data, a target), or its weight.
        place: position of the op.
        low: the smallest value that went in, NaN where the tape did not keep it.
        high: the largest.
        largest: the largest number that the format of its output holds.
        suspects: where weights are broken already, the ops whose gradient can have broken them.
    """

    walk: Walk
    origin: Origin
    place: int
    low: float
    high: float
    largest: float
    suspects: tuple[int, ...] = ()


@final
class BreakSearch:
    """Looks for the origin of the first losses that are no numbers.

    Args:
        parts: of the observer that still work.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._left = _MOST_SEARCHES

    def seek(self, roots: Sequence[Tensor], loss: Measured | None) -> Breakage | None:
        """Return what broke the loss, before its backward pass; None where it is a number.

        On the CPU alone: a device would have to be waited for at every step.
        """
        if not isinstance(loss, float) or math.isfinite(loss) or self._left == 0:
            return None
        if not self._parts.work(_PART):
            return None
        self._left -= 1
        try:
            return _Forward(walk(roots), _NAN if math.isnan(loss) else _INFINITE).breakage()
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_PART, error)
            return None


def _state(value: Tensor | None) -> int | None:
    """Return whether a tensor holds NaN, infinities or numbers alone; None where there is none."""
    if value is None:
        return None
    if not value.is_floating_point():
        return _FINITE
    if bool(torch.isnan(value).any()):
        return _NAN
    return _INFINITE if bool(torch.isinf(value).any()) else _FINITE


class _Forward:
    """The states of what a forward pass made, as far as the tape has kept them."""

    def __init__(self, path: Walk, broken: int) -> None:
        self._path, self._broken = path, broken
        self._above: dict[int, list[tuple[int, int]]] = {}
        self._below: dict[int, list[int]] = {}
        for consumer, slot, producer in path.edges:
            self._above.setdefault(producer, []).append((consumer, slot))
            self._below.setdefault(consumer, []).append(producer)
        self._weights = {id(p): _state(p.detach()) or 0 for p in path.parameters}
        self._made: dict[int, int] = {}
        for place in reversed(range(len(path.nodes))):  # producers first
            self._made[place] = self._state_of(place)

    def breakage(self) -> Breakage | None:
        """Return the first op that broke."""
        found = self._first(self._broken)
        if found is None:
            return None
        place, origin = found
        if origin is Origin.OP and self._broken == _NAN:
            # an infinity that it was given may be the origin: 0 * log(0)
            deeper = self._first(_INFINITE, under=place)
            name = base_name(self._path.nodes[deeper[0]].name()) if deeper is not None else ""
            if deeper is not None and not (deeper[1] is Origin.OP and name in _MASKS):
                place, origin = deeper
        low, high = self._extremes(place)
        made = self._path.nodes[place]._input_metadata[0].dtype  # noqa: SLF001
        largest = torch.finfo(made).max if made.is_floating_point else math.inf
        suspects = self._suspects() if origin is Origin.WEIGHT else ()
        return Breakage(self._path, origin, place, low, high, largest, suspects)

    # -- states ----------------------------------------------------------------------------

    def _kept(self, place: int, slot: int) -> Tensor | None:
        """Return the operand of an op that the tape keeps."""
        node = self._path.nodes[place]
        fields = _OPERANDS_OF.get(base_name(node.name()), _OPERANDS)
        for name, position in fields.items():
            if position == slot:
                value = saved(node, name)
                if value is not None:
                    return value
        return None

    def _state_of(self, place: int) -> int:
        if place in self._path.roots:
            return self._broken
        node = self._path.nodes[place]
        seen = [_state(saved(node, name)) for name in _RESULTS]
        seen += [_state(self._kept(consumer, slot)) for consumer, slot in self._above[place]]
        known = [state for state in seen if state is not None]
        if known:
            return max(known)
        given = max(self._given(place), default=_FINITE)
        return given if given else _state(self._remade(place)) or _FINITE

    def _remade(self, place: int) -> Tensor | None:
        """Return the output of an op that can break, where nothing after it has kept that."""
        name = base_name(self._path.nodes[place].name())
        one, other = self._kept(place, 0), self._kept(place, 1)
        if one is None:
            return None
        if name in ("Log", "Log1P"):
            return one.log() if name == "Log" else one.log1p()
        if name == "Pow":
            exponent = getattr(self._path.nodes[place], "_saved_exponent", None)
            return one**exponent if isinstance(exponent, int | float) else None
        if other is None or name not in ("Mul", "Div"):
            return None
        return one * other if name == "Mul" else one / other

    def _given(self, place: int) -> list[int]:
        """Return the states of everything that enters an op."""
        below = [self._made[each] for each in self._below.get(place, ())]
        weights = [self._weights[id(p)] for _, p in self._path.leaves[place]]
        return [*below, *weights, *self._constants(place)]

    def _constants(self, place: int) -> list[int]:
        node = self._path.nodes[place]
        taken = {slot for slot, _ in self._path.leaves[place]}
        states = []
        for slot, (child, _) in enumerate(node.next_functions):
            if child is None and slot not in taken:
                states.append(_state(self._kept(place, slot)) or _FINITE)
        return states

    # -- the first one ---------------------------------------------------------------------

    def _first(self, broken: int, under: int | None = None) -> tuple[int, Origin] | None:
        """Return the earliest op that is broken while nothing that it took from another op was."""
        places = range(len(self._path.nodes)) if under is None else self._leads_to(under)
        order = sorted(places, key=lambda p: self._path.nodes[p]._sequence_nr())  # noqa: SLF001
        for place in order:
            if self._made[place] < broken:
                continue
            if any(self._made[each] >= broken for each in self._below.get(place, ())):
                continue
            if any(self._weights[id(p)] >= broken for _, p in self._path.leaves[place]):
                return place, Origin.WEIGHT
            if any(state >= broken for state in self._constants(place)):
                return place, Origin.CONSTANT
            node = self._path.nodes[place]
            alone = any(child is None for child, _ in node.next_functions)
            # a sum of finite numbers may overflow, but is never NaN
            if alone and broken == _NAN and base_name(node.name()) in _UNKEPT:
                return place, Origin.CONSTANT
            return place, Origin.OP
        return None

    def _leads_to(self, place: int) -> list[int]:
        """Return the ops that `place` is made of, without itself."""
        found: set[int] = set()
        stack = [place]
        while stack:
            for below in self._below.get(stack.pop(), ()):
                if below not in found:
                    found.add(below)
                    stack.append(below)
        return list(found)

    def _suspects(self) -> tuple[int, ...]:
        """Return the ops through which the gradient of all broken weights came, and of no other.

        A gradient that breaks at an op breaks every weight below it, and none above.
        """
        nodes = range(len(self._path.nodes))
        subtree = {place: {place, *self._leads_to(place)} for place in nodes}
        holders: dict[bool, set[int]] = {True: set(), False: set()}
        for place in nodes:
            for _, parameter in self._path.leaves[place]:
                holders[self._weights[id(parameter)] > _FINITE].add(place)
        if not holders[True] or not holders[False]:
            return ()
        found = [
            place
            for place in nodes
            if base_name(self._path.nodes[place].name()) in _SINGULAR
            and holders[True] <= subtree[place]
            and not holders[False] & subtree[place]
        ]
        return tuple(found[:_MOST_SUSPECTS])

    def _extremes(self, place: int) -> tuple[float, float]:
        """Return the smallest and the largest finite value that an op took (a quotient: below)."""
        node = self._path.nodes[place]
        slot = 1 if base_name(node.name()) == "Div" else 0
        value = self._kept(place, slot)
        if value is None:
            value = value_of(_child(node, slot), ())
        if value is None or not value.is_floating_point():
            return math.nan, math.nan
        finite = value[torch.isfinite(value)]
        if not finite.numel():
            return math.nan, math.nan
        return float(finite.min()), float(finite.max())


def _child(node: Node, slot: int) -> Node | None:
    inputs = [child for child, _ in node.next_functions]
    return inputs[slot] if slot < len(inputs) else None

"""Walk the backward graph from the loss to the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.autograd.graph import Node

from ..flow import OpRole
from .vocabulary import role_of

Edge = tuple[Node, int]  # an op, and which of its outputs
Nexts = tuple[tuple[Node | None, int], ...]

_COMPILED = "CompiledFunctionBackward"
_LEAF = "torch::autograd::AccumulateGrad"
_LAYER_ROLES = frozenset({OpRole.LINEAR, OpRole.EMBEDDING, OpRole.RECURRENT})


@dataclass(frozen=True, slots=True)
class Walk:
    """The ops between the loss and the parameters.

    Attributes:
        nodes: the ops, consumers before producers.
        roles: of each op.
        edges: (consumer, slot, producer) between ops, by position in `nodes`.
        leaves: for each op, the (slot, parameter) that enter it, directly or through ops that
            only touch parameters (transposed, normalised, cast weights).
        roots: positions of the loss ops.
        detours: edges that the walk followed to other ops than autograd does.
        closed: whether some op is a compiled region, one that only weights enter too.
    """

    nodes: tuple[Node, ...]
    roles: tuple[OpRole, ...]
    edges: tuple[tuple[int, int, int], ...]
    leaves: tuple[tuple[tuple[int, Tensor], ...], ...]
    roots: tuple[int, ...]
    detours: Mapping[Edge, Edge] = field(default_factory=dict)
    closed: bool = False

    def nexts(self, place: int) -> Nexts:
        """Return what the op at `place` hands its gradient to, by slot."""
        return _nexts(self.nodes[place], self.detours)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Every parameter that the walk reached, once."""
        found: dict[int, Tensor] = {}
        for entering in self.leaves:
            for _, parameter in entering:
                found[id(parameter)] = parameter
        return tuple(found.values())

    @property
    def signature(self) -> int:
        """Equal for two steps whose graphs have the same ops, edges and parameters."""
        names = tuple(node.name() for node in self.nodes)
        leaves = tuple(tuple((s, id(p)) for s, p in entering) for entering in self.leaves)
        return hash((names, self.edges, leaves))


def walk(
    roots: Sequence[Tensor],
    stands_for: Mapping[int, Tensor] | None = None,
    detours: Mapping[Edge, Edge] | None = None,
) -> Walk:
    """Walk from the `grad_fn` of `roots` to every parameter, in backward order.

    An op whose inputs all come from parameters is weight-side: it belongs to the op that uses the
    weight, unless it is itself a layer (a layer fed with data that needs no gradient).

    Args:
        roots: what `backward` is called on.
        stands_for: by the identity of a parameter that only stands for another one, that one.
        detours: by an edge, the one to follow in its place.
    """
    around = detours or {}
    starts = [
        _around((root.grad_fn, root.output_nr), around)[0]
        for root in roots
        if root.grad_fn is not None
    ]
    order, following = _postorder(starts, around)
    # weight-side parameters by node: what enters the op above in the node's place
    weight_side: dict[Node, tuple[Tensor, ...]] = {}
    for node in order:
        if node.name() == _LEAF:
            variable: Tensor = node.variable  # type: ignore[attr-defined]  # AccumulateGrad has it
            weight_side[node] = ((stands_for or {}).get(id(variable), variable),)
            continue
        nexts = [child for child, _ in following[node] if child is not None]
        if (
            nexts
            and node not in starts
            and role_of(node.name()) not in _LAYER_ROLES
            and not _normalizes_data(node, following[node])
            and all(child in weight_side for child in nexts)
        ):
            weight_side[node] = tuple(p for child in nexts for p in weight_side[child])
    kept = [node for node in reversed(order) if node not in weight_side]
    index = {node: place for place, node in enumerate(kept)}
    edges: list[tuple[int, int, int]] = []
    leaves: list[tuple[tuple[int, Tensor], ...]] = []
    for node in kept:
        entering: list[tuple[int, Tensor]] = []
        for slot, (child, _) in enumerate(following[node]):
            if child is None:
                continue
            if child in weight_side:
                entering.extend((slot, parameter) for parameter in weight_side[child])
            else:
                edges.append((index[node], slot, index[child]))
        leaves.append(tuple(entering))
    return Walk(
        nodes=tuple(kept),
        roles=tuple(role_of(node.name()) for node in kept),
        edges=tuple(edges),
        leaves=tuple(leaves),
        roots=tuple(index[node] for node in dict.fromkeys(starts) if node in index),
        detours=around,
        closed=any(node.name() == _COMPILED for node in order),
    )


def _normalizes_data(node: Node, successors: Nexts) -> bool:
    """Whether the op normalises data that needs no gradient: only its scale and shift train."""
    return role_of(node.name()) is OpRole.NORMALIZATION and successors[0][0] is None


def _around(edge: Edge, detours: Mapping[Edge, Edge]) -> Edge:
    while edge in detours:  # an eager graph may lead straight to what made its input
        edge = detours[edge]
    return edge


def _nexts(node: Node, detours: Mapping[Edge, Edge]) -> Nexts:
    if not detours:
        return node.next_functions
    return tuple(
        (child, slot) if child is None else _around((child, slot), detours)
        for child, slot in node.next_functions
    )


def _postorder(
    starts: Sequence[Node], detours: Mapping[Edge, Edge]
) -> tuple[list[Node], dict[Node, Nexts]]:
    """Return the nodes, producers before consumers, and each node's successors."""
    order: list[Node] = []
    following: dict[Node, Nexts] = {}
    for start in starts:
        if start in following:
            continue
        following[start] = _nexts(start, detours)
        stack = [(start, iter(following[start]))]
        while stack:
            node, successors = stack[-1]
            for child, _ in successors:
                if child is not None and child not in following:
                    following[child] = _nexts(child, detours)
                    stack.append((child, iter(following[child])))
                    break
            else:
                order.append(node)
                stack.pop()
    return order, following

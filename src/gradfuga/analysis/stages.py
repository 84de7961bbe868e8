"""Cut a line from the output to a layer into its stages, and tell which layers lie beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..flow import FlowGraph, OpRole

_BRANCH_ROLES = frozenset({OpRole.LINEAR, OpRole.EMBEDDING, OpRole.RECURRENT, OpRole.ATTENTION})
_PROJECTION_ROLES = frozenset(
    {OpRole.LINEAR, OpRole.NORMALIZATION, OpRole.MERGE, OpRole.STRUCTURAL}
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The way between two successive dominators of the main line.

    Attributes:
        start: index of the op on the output's side.
        end: index of the op on the input's side.
        lone: the way is the op `start` alone.
        bypassed: a way without layers leads through (a residual connection).
        projected: it starts with a sum, and a way of layers and normalisations alone leads through
            (a shortcut with a projection), so that no unit on it can close.
        inner: the ops between that lead on to `end`; `start` and `end` left out.
    """

    start: int
    end: int
    lone: bool
    bypassed: bool
    projected: bool
    inner: frozenset[int]


def stages(graph: FlowGraph, line: Sequence[int]) -> tuple[Stage, ...]:
    """Cut a line of dominators into its stages."""
    leading = graph.leading_to(line[-1]) if line else frozenset()
    out = []
    for start, end in pairwise(line):
        inner: set[int] = set()
        free = {start}  # reached from `start` without crossing a layer after it
        order = [start]
        for index in order:
            for edge in graph.producers[index]:
                below = edge.producer
                crosses = index != start and graph.ops[index].role in _BRANCH_ROLES
                if index in free and not crosses:
                    free.add(below)
                if below != end and below not in inner and below in leading:
                    inner.add(below)
                    order.append(below)
            if len(inner) > len(graph.ops):
                break
        inner = {i for i in inner if graph.ops[i].sequence >= graph.ops[end].sequence}
        edges = graph.producers[start]
        lone = len(edges) == 1 and edges[0].producer == end and len(graph.consumers[end]) == 1
        bypassed = end in free and not lone
        projected = not lone and _is_projected(graph, start, end)
        out.append(Stage(start, end, lone, bypassed, projected, frozenset(inner)))
    return tuple(out)


def _is_projected(graph: FlowGraph, start: int, end: int) -> bool:
    """Whether a way from a sum at `start` down to `end` crosses nothing that could close it.

    The product of a gate is not a sum, and what runs through an activation is no shortcut.
    """
    if graph.ops[start].role is not OpRole.MERGE:
        return False
    seen, stack = {start}, [start]
    while stack:
        for edge in graph.producers[stack.pop()]:
            below = edge.producer
            if below == end:
                return True
            if below not in seen and graph.ops[below].role in _PROJECTION_ROLES:
                seen.add(below)
                stack.append(below)
    return False


def gated_layers(graph: FlowGraph, read: Collection[int]) -> frozenset[int]:
    """Return the layers that a way without layers, or a projection, runs beside.

    A layer is looked at from the line to the deepest layer that it leads to itself: what lies
    beside a tower of its own, such as another input's, is no way around it.

    Args:
        graph: of a sampled step.
        read: the ops whose gradient was read.
    """
    out: set[int] = set()
    for end in {graph.deepest[layer] for layer in graph.layers}:
        line = tuple(index for index in graph.line_to(end) if index in read)
        inner = [each.inner for each in stages(graph, line) if each.bypassed or each.projected]
        beside = frozenset[int]().union(*inner)
        out.update(n for n in graph.layers if graph.deepest[n] == end and n in beside)
    return frozenset(out)

"""Find where residual branches end, among the ops of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..flow import FlowGraph, Op, OpRole

# A decoder block of a transformer adds three branches; a module with more sums than that runs over
# its blocks by itself, and its path does not tell them apart.
_SUMS_OF_A_BLOCK = 3
_ENDS = frozenset({OpRole.LINEAR, OpRole.NORMALIZATION})
_PASSED = frozenset({OpRole.SCALE, OpRole.STRUCTURAL})


def branch_ends(graph: FlowGraph, sums: Sequence[str]) -> tuple[str, ...]:
    """Return `sums`, those that no block of their own holds told by what their branch puts out.

    That is the layer, or the normalization, which made the younger of the terms of ``x + f(x)``.
    A sum keeps its own path where that is no module's output.
    """
    ops = [graph.op(path) for path in sums]
    within = Counter(op.module for op in ops)
    return tuple(
        (_end(graph, op) or op.path)
        if op.role is OpRole.MERGE and (not op.module or within[op.module] > _SUMS_OF_A_BLOCK)
        else op.path
        for op in ops
    )


def _end(graph: FlowGraph, added: Op) -> str:
    terms = [graph.ops[edge.producer] for edge in graph.producers[added.index]]
    if not terms:
        return ""
    for op in _down(graph, max(terms, key=lambda op: op.sequence)):
        if op.role in _ENDS:
            return op.module if op.module and op.module != added.module else ""
        if op.role not in _PASSED:
            break
    return ""


def _down(graph: FlowGraph, op: Op) -> Iterator[Op]:
    """Yield an op, and what its gradient goes on to, while there is one way only."""
    while True:
        yield op
        below = graph.producers[op.index]
        if len(below) != 1:
            return
        op = graph.ops[below[0].producer]

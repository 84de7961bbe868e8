"""Follow an attention's queries, keys and values through the graph, and compare their gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._types import Kind
from ..flow import OpRole
from ._samples import value_at

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..flow import Edge, Op

_HOPS = 8  # masks, scales, reshapes and dropout between the softmax and its two products
_THREE = 3


def query_key_over_value(case: Case, op: Op, step: int) -> float:
    """Return the larger of ``|dL/dQ|, |dL/dK|`` over ``|dL/dV|``; NaN where they are not seen.

    Args:
        case: the training.
        op: a fused attention, or the softmax of a composed one.
        step: a sampled step.
    """
    found = _fused(case, op) if op.role is OpRole.ATTENTION else _composed(case, op)
    if found is None:
        return math.nan
    asks, values = found
    value = _gradient(case, values, step)
    sizes = [_gradient(case, edge, step) for edge in asks]
    known = [size for size in sizes if math.isfinite(size)]
    return max(known) / value if known and value > 0.0 else math.nan


def _fused(case: Case, op: Op) -> tuple[tuple[Edge, ...], Edge] | None:
    edges = sorted(case.graph.producers[op.index], key=lambda edge: edge.slot)
    if len(edges) < _THREE or [edge.slot for edge in edges[:_THREE]] != [0, 1, 2]:
        return None
    return tuple(edges[:2]), edges[2]


def _composed(case: Case, op: Op) -> tuple[tuple[Edge, ...], Edge] | None:
    """Find the product that made the scores, below, and the one that weighs the values, above."""
    graph, below = case.graph, op.index
    for _hop in range(_HOPS):
        edges = graph.producers[below]
        if len(edges) != 1:
            break
        below = edges[0].producer
    asks = graph.producers[below]
    above = op.index
    for _hop in range(_HOPS):
        consumers = graph.consumers[above]
        if len(consumers) != 1:
            return None
        reader = consumers[0].consumer
        others = [edge for edge in graph.producers[reader] if edge.producer != above]
        if len(others) == 1 and graph.ops[reader].role is OpRole.LINEAR:
            return (asks, others[0]) if len(asks) > 1 else None
        above = reader
    return None


def _gradient(case: Case, edge: Edge, step: int) -> float:
    """Return the gradient that crosses `edge`: its own where it was read, else the producer's."""
    ops = case.graph.ops
    own = value_at(
        case, ops[edge.consumer].path, Kind.ACTIVATION_GRAD, f"input_norm.{edge.slot}", step
    )
    if math.isfinite(own):
        return own
    if len(case.graph.consumers[edge.producer]) > 1:
        return math.nan
    return value_at(case, ops[edge.producer].path, Kind.ACTIVATION_GRAD, "norm", step)

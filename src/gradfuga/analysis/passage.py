"""Where the gradient gets: the weights that it reached, and the ops that let nothing through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind
from ..flow import FlowGraph, Op, OpRole

if TYPE_CHECKING:
    from ..readings import Readings
    from .case import Case

# An op that gives nothing on at this many samples, the last among them, does so by what it is: a
# branch that starts at zero has moved by the second.
_FEWEST_SAMPLES = 3
# An activation that lets nothing through is dead or saturated; a layer, small or zero: those have
# causes of their own.
_SILENT = frozenset({OpRole.OPAQUE, OpRole.SCALE, OpRole.STRUCTURAL, OpRole.MERGE})


@dataclass(frozen=True, slots=True)
class Spread:
    """Trainable weights of dim > 1: how many there are, were fed, and were fed but not opened."""

    of: int
    fed: int
    closed: int

    @property
    def whole(self) -> bool:
        """Whether the gradient was seen to reach every layer, each of them opened."""
        return self.fed == self.of and self.closed == 0


def spread(case: Case) -> Spread:
    """Return how far the gradient was seen to get on the sampled steps."""
    weights = [p for p in case.record.parameters if len(p.shape) > 1 and p.trainable]
    fed = [p for p in weights if p.fed]
    return Spread(len(weights), len(fed), sum(not p.opened for p in fed))


@dataclass(frozen=True, slots=True)
class Block:
    """An op whose output's gradient is not zero and which gives exactly nothing on.

    `weights` are the names of the weights of dim > 1 that therefore get nothing.
    """

    op: Op
    weights: tuple[str, ...]


def blocks(case: Case) -> tuple[Block, ...]:
    """Return the ops that cut weights off, output first."""
    graph, steps = case.graph, case.steps
    if len(steps) < _FEWEST_SAMPLES:
        return ()
    hungry = {p.path for p in case.record.parameters if len(p.shape) > 1 and not p.fed}
    if not hungry:
        return ()
    found = []
    for op in graph.ops:
        if op.role in _SILENT and graph.producers[op.index] and _gives_nothing(case.readings, op):
            below = tuple(name for name in _weights_below(graph, op) if name in hungry)
            if below:
                found.append(Block(op, below))
    return tuple(found)


def cut_off(case: Case) -> frozenset[str]:
    """Return the names of the weights that an op cuts off."""
    return frozenset(name for block in blocks(case) for name in block.weights)


def _gives_nothing(readings: Readings, op: Op) -> bool:
    """Whether the op gets a gradient and gives none on, at every sample that shows it."""
    graph = readings.graph
    arriving = _by_step(readings, op.path, "norm")
    shown = [step for step, norm in arriving.items() if 0.0 < norm < math.inf]
    if len(shown) < _FEWEST_SAMPLES or shown[-1] != next(reversed(arriving)):
        return False
    for edge in graph.producers[op.index]:
        lone = len(graph.consumers[edge.producer]) == 1
        path = graph.ops[edge.producer].path if lone else op.path
        statistic = "norm" if lone else f"input_norm.{edge.slot}"
        given = _by_step(readings, path, statistic)
        if any(given.get(step, 0.0) != 0.0 for step in shown):
            return False
    return True


def _by_step(readings: Readings, path: str, statistic: str) -> dict[int, float]:
    steps, values = readings.series(path, Kind.ACTIVATION_GRAD, statistic)
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


def _weights_below(graph: FlowGraph, op: Op) -> tuple[str, ...]:
    names: dict[str, None] = {}
    seen = {op.index}
    stack = [edge.producer for edge in graph.producers[op.index]]
    while stack:
        index = stack.pop()
        if index not in seen:
            seen.add(index)
            names.update(dict.fromkeys(graph.ops[index].parameters))
            stack.extend(edge.producer for edge in graph.producers[index])
    return tuple(names)

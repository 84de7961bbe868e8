"""Build the case from readings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._types import Kind
from ..flow import FlowGraph, OpRole
from ..readings import ParameterRecord, Readings
from .account import Account
from .case import Case, Layer
from .claims import account
from .memory import first_profiles, late_profiles
from .progress import measure_progress
from .stages import Stage, gated_layers, stages

if TYPE_CHECKING:
    from .progress import Floats

# The one threshold on reach with a theory behind it: at a depth of six depth scales, the limit
# of trainability (Schoenholz et al. 2017), the gradient's norm has fallen by e^-3 = 1.30 decades.
REACH_LIMIT = 1.30
DEAD_LAYER = 0.9  # share of dead units in a dead layer; a healthy narrow conv reaches .88
_LATE_SAMPLES, _LATE_PART = 4, 0.75


def build_case(readings: Readings, *, lag: int | None = None) -> Case:
    """Work out everything that rules may ask about the training of `readings`.

    Args:
        readings: of one training.
        lag: steps back in time that the task needs, where it is known.
    """
    graph, record = readings.graph, readings.record
    steps = record.sampled
    norms = readings.matrix([op.path for op in graph.ops], Kind.ACTIVATION_GRAD, "norm", steps)
    # of a long recurrence only some steps are read
    read = frozenset(np.flatnonzero(~np.isnan(norms).all(axis=0)).tolist())
    layers = _layers(graph, gated_layers(graph, read), record.parameters)
    output = np.hypot.reduce(norms[:, list(graph.outputs)], axis=1)  # a square may underflow
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(norms) - np.log10(output)[:, None]
    structural = _structural(graph, decades)
    reach = np.full((len(steps), len(layers)), np.nan)
    for column, group in enumerate(graph.uses):
        used = np.stack([decades[:, op] - structural[:, op] for op in group], axis=1)
        known = ~np.isnan(used).all(axis=1)
        reach[known, column] = np.nanmax(used[known], axis=1)
    ratio = _update_ratio(readings, layers, steps)
    line = _telling_line(graph, layers, reach)
    cut = stages(graph, tuple(index for index in line if index in read))
    progress = measure_progress(readings)
    late = late_samples(steps, record.steps)
    lowest = np.array([lowest_reach(row, layers) for row in reach])
    start = account(readings, steps[0], cut) if steps else Account(0, 0.0, ())
    last = account(readings, steps[late[-1]], cut) if late else start
    worst = _worst_step(steps, lowest)
    return Case(
        readings=readings,
        graph=graph,
        record=record,
        steps=steps,
        layers=layers,
        reach=reach,
        line=line,
        line_reach=(decades - structural)[:, list(line)] if line else np.zeros((len(steps), 0)),
        update_ratio=ratio,
        turnovers=_turnovers(ratio, steps),
        dead_layers=_dead_layers(readings, graph, norms),
        progress=progress,
        start=start,
        late=last,
        blamed=_blamed(readings, start, worst, lowest, cut),
        lag=lag,
        first_lags=first_profiles(readings),
        late_lags=late_profiles(readings),
    )


def lowest_reach(row: Floats, layers: tuple[Layer, ...]) -> float:
    """Return the lowest finite reach of one sample over the layers that are not gated."""
    values = [
        value
        for value, layer in zip(row, layers, strict=True)
        if math.isfinite(value) and not layer.gated
    ]
    return min(values, default=math.nan)


def highest_reach(row: Floats, layers: tuple[Layer, ...]) -> float:
    """Return the highest finite reach of one sample over the layers that are not gated."""
    values = [
        value
        for value, layer in zip(row, layers, strict=True)
        if math.isfinite(value) and not layer.gated
    ]
    return max(values, default=math.nan)


def late_samples(steps: tuple[int, ...], total: int) -> list[int]:
    """Return the positions of the last up to 4 samples of the last quarter, at least one."""
    late = [place for place, step in enumerate(steps) if step >= _LATE_PART * total]
    return late[-_LATE_SAMPLES:] or ([len(steps) - 1] if steps else [])


def _layers(
    graph: FlowGraph, gated: frozenset[int], parameters: tuple[ParameterRecord, ...]
) -> tuple[Layer, ...]:
    sizes = {p.path: math.prod(p.shape) for p in parameters if len(p.shape) > 1}
    out = []
    for index in graph.layers:
        op = graph.ops[index]
        heavy = [name for name in op.parameters if name in sizes]
        weight = max(heavy, key=lambda name: sizes[name], default=(op.parameters or ("",))[-1])
        out.append(Layer(index, op.path, weight, gated=index in gated))
    return tuple(out)


def _telling_line(graph: FlowGraph, layers: tuple[Layer, ...], reach: Floats) -> tuple[int, ...]:
    """Return the line that the account is about: the main line, or that of a sicker tower.

    A network of several inputs has a line to each. The one with the layer whose reach is out of
    bounds farthest at the first sample speaks, or else the one whose layer fell lowest later.
    """
    for decades in (np.abs(reach[:1]), -reach):
        known = np.where(np.isfinite(decades), decades, 0.0).max(axis=0, initial=0.0)
        farthest, op = max(
            (
                (size, layer.op)
                for size, layer in zip(known, layers, strict=True)
                if not layer.gated
            ),
            default=(0.0, -1),
        )
        if farthest > REACH_LIMIT:
            return graph.line_to(graph.deepest[op])
    return graph.main_line


def _structural(graph: FlowGraph, decades: Floats) -> Floats:
    """Return the known gains of structural ops on the dominator chain down to every op."""
    out = np.zeros_like(decades)
    for op in graph.ops:
        above = graph.dominators[op.index]
        if above < 0:
            continue
        out[:, op.index] = out[:, above]
        edges = graph.producers[above]
        lone = len(edges) == 1 and edges[0].producer == op.index
        if (
            lone
            and len(graph.consumers[op.index]) == 1
            and graph.ops[above].role is OpRole.STRUCTURAL
        ):
            with np.errstate(invalid="ignore"):
                gain = decades[:, op.index] - decades[:, above]
            out[:, op.index] += np.where(np.isfinite(gain), gain, 0.0)
    return out


def _update_ratio(readings: Readings, layers: tuple[Layer, ...], steps: tuple[int, ...]) -> Floats:
    names = [layer.weight for layer in layers]
    update = readings.matrix(names, Kind.UPDATE, "norm", steps)
    weight = readings.matrix(names, Kind.WEIGHT, "norm", steps)
    if not steps:
        return update
    start = weight[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.divide(update, np.maximum(weight, start))
    ratio[:, ~(start > 0.0)] = np.nan
    return ratio


def _turnovers(ratio: Floats, steps: tuple[int, ...]) -> Floats:
    out = np.zeros_like(ratio)
    for place in range(1, len(steps)):
        between = 0.5 * (ratio[place] + ratio[place - 1]) * (steps[place] - steps[place - 1])
        out[place] = out[place - 1] + np.nan_to_num(between, posinf=0.0, neginf=0.0)
    return out


def _dead_layers(
    readings: Readings, graph: FlowGraph, norms: Floats
) -> tuple[tuple[str, ...], ...]:
    """Return the activations whose units are all dead and which let no gradient through."""
    steps = readings.sampled
    ops = [op for op in graph.ops if op.role is OpRole.ACTIVATION]
    dead = readings.matrix([op.path for op in ops], Kind.ACTIVATION, "dead_share", steps)
    out = []
    for row in range(len(steps)):
        found = []
        for column, op in enumerate(ops):
            below = [edge.producer for edge in graph.producers[op.index]]
            closed = all(norms[row, index] == 0.0 for index in below) and bool(below)
            if dead[row, column] >= DEAD_LAYER and closed:
                found.append(op.path)
        out.append(tuple(found))
    return tuple(out)


def _worst_step(steps: tuple[int, ...], lowest: Floats) -> int | None:
    known = [(value, step) for value, step in zip(lowest, steps, strict=True) if value == value]  # noqa: PLR0124
    return min(known)[1] if known else None


def _blamed(
    readings: Readings,
    start: Account,
    worst: int | None,
    lowest: Floats,
    cut: tuple[Stage, ...],
) -> Account:
    """The account that speaks for the symptom: the first one, unless the path broke later."""
    if abs(start.total) > REACH_LIMIT or worst is None or lowest.size == 0:
        return start
    if np.nanmin(lowest) < -REACH_LIMIT:
        return account(readings, worst, cut)
    return start

"""Changes to made-up trainings and to their cases, for what is judged of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradfuga._types import Kind
from gradfuga.analysis.case import Case
from gradfuga.flow import Edge, Op, OpRole
from rules.cases import SAMPLED, Training, by_step, weight


def at(case: Case, **changed: Any) -> Case:
    """Return `case` with facts set by hand; `first`, `late`, `pace`, `turned` are by layer."""
    rows, ratio, turned = case.reach.copy(), case.update_ratio.copy(), case.turnovers.copy()
    if "first" in changed:
        rows[0, -1] = changed.pop("first")
    if "late" in changed:
        rows[1:, -1] = changed.pop("late")
    if "pace" in changed:
        ratio[:] = changed.pop("pace")
    if "turned" in changed:
        turned[-1] = changed.pop("turned")
    if "steps" in changed:
        changed["record"] = replace(case.record, steps=changed.pop("steps"))
    progress = {key: changed.pop(key) for key in ("u", "half_step", "open") if key in changed}
    measured = replace(case.progress, **progress)
    new = {"reach": rows, "update_ratio": ratio, "turnovers": turned, "progress": measured}
    return replace(case, **{**new, **changed})


def low(case: Case, value: float) -> Case:
    """Return `case` with a reach of `value` at the deepest layer, from first to last."""
    return at(case, first=value, late=value)


def starving(training: Training) -> Case:
    """Return a training whose deepest layer alone does not move, and is not reached."""
    return low(training.reading("layer.0.weight", Kind.UPDATE, "norm", 1e-6).case, -3.0)


def dead(training: Training, since: int = 0) -> Training:
    """Return `training` with the units of one layer dead from step `since` on."""
    changes = {("act.1", Kind.ACTIVATION, "dead_share"): (0.0, 1.0)}
    for path in ("layer.1", "act.0", "layer.0"):
        changes[path, Kind.ACTIVATION_GRAD, "norm"] = (1.0, 0.0)
    for key, (before, after) in changes.items():
        values = {step: before if step < since else after for step in SAMPLED}
        training = training.reading(*key, values)
    return training


def decayed(training: Training) -> Case:
    """Return a training whose weights shrink to a tenth, and the reach with them."""
    shrunk = training.with_settings(weight_decay=0.1)
    return at(shrunk.everywhere(Kind.WEIGHT, "norm", by_step(1.0, 0.1)).case, late=-2.0)


def softmax_too_many(training: Training) -> Training:
    """Return `training` with a softmax between the model and the loss's log-softmax."""
    graph = training.graph
    ops = [graph.ops[0], Op(1, "LogSoftmaxBackward0", "log", OpRole.LOSS, sequence=999)]
    ops.append(Op(2, "SoftmaxBackward0", "probabilities", OpRole.SOFTMAX, sequence=998))
    ops += [replace(op, index=op.index + 2) for op in graph.ops[1:]]
    made = replace(
        graph,
        ops=tuple(ops),
        edges=tuple(Edge(n, 0, n + 1) for n in range(len(ops) - 1)),
        outputs=(2,),
        layers=tuple(index + 2 for index in graph.layers),
        uses=tuple((index + 2,) for index in graph.layers),
    )
    return replace(training, graph_of=made)


def partly_frozen(training: Training, trained: int) -> Training:
    """Return `training` with all but the first `trained` layers frozen."""
    paths = [f"{path}.weight" for path in training.layer_paths]
    records = (weight(path, trainable=n < trained) for n, path in enumerate(paths))
    return training.holding(*records)


def unreached(training: Training, count: int) -> Training:
    """Return `training` with `count` weights that the loss never reaches."""
    paths = [f"{path}.weight" for path in training.layer_paths]
    records = (weight(path, reached=n >= count) for n, path in enumerate(paths))
    return training.holding(*records)


def recurrent(training: Training, times: int = 6) -> Training:
    """Return `training` with a weight that is used several times along one chain."""
    graph = training.graph
    chain = tuple(range(1, 1 + times))
    return replace(training, graph_of=replace(graph, uses=(chain, *graph.uses[1:])))


def slow(case: Case, **changed: Any) -> Case:
    """Return `case` as a training that moves too little to tell, though not nothing."""
    return at(case, **{"pace": 1e-3, "turned": 0.1, **changed})


def stopped(training: Training, *, after: int) -> Training:
    """Return `training` with weights that move up to step `after` and no more."""
    return training.everywhere(Kind.UPDATE, "norm", by_step(0.05, 0.0, until=after))


def held_back(training, lost=0.95):
    """An op loses nearly all of its gradient's norm, or `lost` of it, to underflow."""
    return training.reading("layer.2", Kind.ACTIVATION, "flushed_norm", lost)

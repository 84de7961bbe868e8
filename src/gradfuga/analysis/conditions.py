"""Conditions of a case that the judgement asks about, each one a question with its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._types import Kind
from ..flow import FlowGraph, OpRole
from .build import DEAD_LAYER, REACH_LIMIT, late_samples, lowest_reach
from .case import Case
from .clipping import kept_by_clipping
from .passage import cut_off
from .progress import FALLING_Z, block_means, mann_kendall

if TYPE_CHECKING:
    from .progress import Floats

# Fatal runs under SGD have r_l N of at most .09 at step 2 (evaluation of the decision rule).
STARVED = 0.1
# "While others move": ten times more, or the whole network is just fed little.
STARVED_AGAINST = 10.0
# A learning rate of 1e-8, clipping at 1e-5, an epsilon far above the gradient: 1e-5 to 3e-3.
NOBODY_FED = 0.01
# An adaptive optimizer gives every layer its learning rate, so that a low reach says nothing
# before the weights have moved. Healthy networks that start below the limit leave chance when
# they have turned over .3 to .6 of their weights (evaluation of the decision rule).
LEAVES_CHANCE = 0.3
ONE_TURNOVER = 1.0
DECAYED = 0.5
# Chosen: what a head's bias alone takes off a random start is less (log K plus the start's excess).
HALVED = 0.5
# Chosen: two decades lost to clipping are more than the limit on reach.
CLIPPED_AWAY = 0.01
# Chosen: a layer with more than half of its units dead at the first sample was never sound.
_ALIVE = 0.5
# One batch may hold the same examples by chance.
FEWEST_LOOKS = 3
# A weight used this often along one chain is a recurrence: depth through it is time.
TIME_USES = 6


def constant_inputs(case: Case) -> bool:
    """Whether no value of any input told one example from another, in each batch looked at."""
    values = case.readings.series("input", Kind.ACTIVATION, "varying")[1]
    return values.size >= FEWEST_LOOKS and not values.any()


def dead_at(case: Case, place: int) -> bool:
    """Whether a whole layer of units was dead at sample number `place`."""
    return bool(case.dead_layers) and bool(case.dead_layers[place])


def grew_dead(case: Case) -> bool:
    """Whether a layer that lived at the first sample is dead at the last."""
    return bool(case.dead_layers) and not case.dead_layers[0] and bool(case.dead_layers[-1])


def lost_units(case: Case) -> tuple[str, ...]:
    """Return the activations that worked at the first sample and in the end have few live units."""
    paths = [op.path for op in case.graph.ops if op.role is OpRole.ACTIVATION]
    if not case.steps or not paths:
        return ()
    dead = case.readings.matrix(paths, Kind.ACTIVATION, "dead_share", case.steps)
    late = late_samples(case.steps, case.total_steps)
    ends = np.median(dead[late], axis=0)
    return tuple(
        path
        for path, first, end in zip(paths, dead[0], ends, strict=True)
        if first < _ALIVE and end >= DEAD_LAYER
    )


def lost_share(case: Case) -> float:
    """Return the share of the run, weighted by time, with the lowest reach below the limit.

    Once half of the way is made, only the time before half of the final progress counts.
    """
    if len(case.steps) == 0 or case.total_steps == 0:
        return 0.0
    horizon = case.total_steps
    if case.progress.u >= 0.5:  # noqa: PLR2004 (half of the way)
        horizon = max(case.progress.half_step, 1)
    edges = [*case.steps, case.total_steps]
    lost = 0.0
    for place, step in enumerate(case.steps):
        if step >= horizon:
            break
        if lowest_reach(case.reach[place], case.layers) < -REACH_LIMIT:
            lost += min(edges[place + 1], horizon) - step
    return lost / case.total_steps


def late_lowest(case: Case) -> float:
    """Return the median over the late samples of the lowest reach, NaN where unread."""
    late = late_samples(case.steps, case.total_steps)
    values = [lowest_reach(case.reach[place], case.layers) for place in late]
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def waiting_reach(case: Case) -> float:
    """Return the median lowest reach over all samples, NaN where unread."""
    values = [lowest_reach(row, case.layers) for row in case.reach]
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else math.nan


def starved_layers(case: Case) -> tuple[str, ...]:
    """Return the layers whose reach is below the limit and whose weights hardly move.

    The optimizer in use moves others at least ten times more.
    """
    if len(case.steps) < 2:  # noqa: PLR2004
        return ()
    feed = _column_medians(case.update_ratio) * case.total_steps
    most = np.nanmax(feed, initial=0.0)
    low = _column_medians(case.reach)
    return tuple(
        layer.path
        for layer, fed, reach in zip(case.layers, feed, low, strict=True)
        if fed < STARVED
        and fed * STARVED_AGAINST < most
        and most >= NOBODY_FED
        and reach < -REACH_LIMIT
    )


def _column_medians(values: Floats) -> Floats:
    """Return the median of every layer's readings, NaN where a layer has none.

    A weight that starts at zero has no update ratio; `np.nanmedian` would warn about it.
    """
    read = [column[~np.isnan(column)] for column in values.T]
    return np.array([np.median(known) if known.size else np.nan for known in read])


def nobody_fed(case: Case) -> bool:
    """Whether no layer's weights move enough to learn anything in a run of this length."""
    known = case.update_ratio[np.isfinite(case.update_ratio)]
    return bool(known.size) and float(known.max()) * case.total_steps < NOBODY_FED


def stopped_step(case: Case) -> int | None:
    """Return the sampled step from which on no weight moves any more; None while one does.

    "No more" is what would come to less than a hundredth of a weight's size in a whole run.
    """
    found: int | None = None
    for step, row in zip(case.steps, case.update_ratio, strict=True):
        known = row[np.isfinite(row)]
        if not known.size:
            continue
        moves = float(known.max()) * case.total_steps >= NOBODY_FED
        found = None if moves else step if found is None else found
    return found


def path_starves_all(case: Case) -> bool:
    """Whether it is the path, not the learning rate, that feeds nobody.

    Either the gradient is lost before it reaches the layer next to the output (a saturated
    output), or the signal has collapsed on its way there, so that even the head sees nothing (a
    bias-free ReLU network, whose weight gradients all shrink alike), or the layer that is fed
    best gets ten times more than the one that is fed worst.
    """
    if case.reach.size and math.isfinite(case.reach[0, 0]) and case.reach[0, 0] < -REACH_LIMIT:
        return True
    if forward_fall(case) < -REACH_LIMIT:
        return True
    feed = _column_medians(case.update_ratio)
    known = feed[np.isfinite(feed)]
    return bool(known.size) and float(known.min()) * STARVED_AGAINST < float(known.max())


def forward_fall(case: Case) -> float:
    """Return the decades by which the signal falls from the deepest layer to the head.

    At the first sample; 0 where it was not recorded.
    """
    if not case.layers or not case.steps:
        return 0.0
    paths = [case.layers[0].path, case.layers[-1].path]
    head, deepest = case.readings.matrix(paths, Kind.ACTIVATION, "input_rms", case.steps[:1])[0]
    if not (head > 0.0 and deepest > 0.0):
        return 0.0
    return math.log10(head) - math.log10(deepest)


def training_share(case: Case) -> float:
    """Return the share of the model's weights of dim > 1 that the training really moves.

    Trainable, held by the optimizer, reached by the loss and not cut off by an op; 1 where no
    weight is known.
    """
    weights = [each for each in case.record.parameters if len(each.shape) > 1]
    if not weights or not case.steps:
        return 1.0
    cut = cut_off(case)
    training = [w for w in weights if w.trainable and w.optimized and w.reached]
    return sum(w.path not in cut for w in training) / len(weights)


def clipped_away(case: Case) -> bool:
    """Whether clipping leaves less than a hundredth of the gradient on most samples."""
    values = kept_by_clipping(case)
    return bool(values) and float(np.median(values)) < CLIPPED_AWAY


def unreached_share(case: Case) -> float:
    """Return the share of the weights of dim > 1 held by the optimizer that the loss never reaches.

    0 before three samples have been taken.
    """
    held = [p for p in case.record.parameters if len(p.shape) > 1 and p.optimized and p.trainable]
    if not held or len(case.steps) < 3:  # noqa: PLR2004 (a head may take turns with others)
        return 0.0
    cut = cut_off(case)
    return sum(not p.reached or p.path in cut for p in held) / len(held)


def weights_decayed(case: Case) -> bool:
    """Whether a weight has shrunk below half of its norm and the reach with it."""
    if case.record.settings.get("weight_decay", 0.0) <= 0.0:
        return False
    for layer in case.layers:
        values = case.readings.series(layer.weight, Kind.WEIGHT, "norm")[1]
        if values.size > 1 and values[-1] < DECAYED * values[0]:
            return lowest_reach(case.reach[-1], case.layers) < -REACH_LIMIT
    return False


def clear_fall(case: Case) -> bool:
    """Whether the loss has come down, by trend or in all, where no baseline tells more."""
    losses = case.readings.losses[1]
    losses = losses[np.isfinite(losses)]
    if losses.size < 12:  # noqa: PLR2004 (a trend over fewer is no trend)
        return False
    blocks = block_means(losses)
    first, last = blocks[:2].mean(), blocks[-2:].mean()
    halved = 0.0 <= last < HALVED * first
    falling = mann_kendall(blocks) < FALLING_Z
    return bool(case.progress.falling or falling or halved)


def has_time_axis(graph: FlowGraph) -> bool:
    """Whether the model is recurrent: a fused kernel, or a weight used along one chain."""
    if any(op.role is OpRole.RECURRENT for op in graph.ops):
        return True
    return any(len(group) >= TIME_USES and _in_a_row(graph, group) for group in graph.uses)


def _in_a_row(graph: FlowGraph, group: Sequence[int]) -> bool:
    """Whether enough of the uses depend on one another: views and positions are side by side."""
    own, above = set(group), [0] * len(graph.ops)  # uses that the longest way to the op crosses
    for op in graph.ops:  # consumers first
        crossed = above[op.index] + (op.index in own)
        if crossed >= TIME_USES:
            return True
        for edge in graph.producers[op.index]:
            above[edge.producer] = max(above[edge.producer], crossed)
    return False


def half_turned(case: Case) -> bool:
    """Whether the median layer has turned its weights over once."""
    known = case.turnovers[-1][np.isfinite(case.turnovers[-1])]
    return bool(known.size) and float(np.median(known)) >= ONE_TURNOVER

"""One cell of the matrix: a training, and how near the truth its readings are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch

from gradfuga._observe import observe
from gradfuga._types import Kind
from gradfuga.readings import Readings

from ._reference import Clip, Log, Loss, Step, Weights
from ._task import cross_entropy

# What float32 gradients differ by from float64 ones on these small networks, at most.
EXACT = 2e-5
# A parameter with next to no gradient is known as well as the whole gradient is.
NEXT_TO_NONE = 1e-4

Train = Callable[[Log], Weights]


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to train.

    Attributes:
        group: the table that it is a row of.
        name: what a user calls it.
        train: the training; it notes its steps in the log, and returns its last weights.
        within: how far a gradient may be from float64 mathematics; beyond `EXACT` that is the
            training's own arithmetic, and the reading must be exact against what it holds.
        seen: whether anything is read at all.
        tape: whether activation gradients are read too.
        note: what a user should know.
    """

    group: str
    name: str
    train: Train
    loss: Loss = cross_entropy
    clip: Clip | None = None
    within: float = EXACT
    seen: bool = True
    tape: bool = True
    note: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """The largest relative errors over all steps and parameters; infinite where nothing was read.

    Attributes:
        gradient: against float64 mathematics.
        held: against the gradients that the training held.
        update: of the weights, against the difference of the weights.
        clip: of the clip coefficient.
        tape: whether activation gradients were recorded at every step.
        counted: whether the steps of every training are as many as there were.
        untouched: whether the weights are bit-equal to those of an unobserved training.
    """

    gradient: float
    held: float
    update: float
    clip: float
    tape: bool
    counted: bool
    untouched: bool


@cache
def measure(cell: Cell) -> Outcome:
    """Train without and under an observer that was told nothing, and compare."""
    bare = cell.train(Log(cell.loss, cell.clip))
    log = Log(cell.loss, cell.clip)
    with observe(every=1) as observer:
        weights = cell.train(log)
    same = all(torch.equal(weights[name], bare[name]) for name in bare)
    return replace(compare(log, observer.trainings), untouched=same)


def compare(log: Log, trainings: Sequence[Readings]) -> Outcome:
    """Return how far the readings are from the truth."""
    gradient = held = update = clip = 0.0
    tape = bool(trainings)
    for number, step in enumerate(log.steps):
        truth = {name: float(g.norm()) for name, g in log.gradient(step).items()}
        read = {name: seen(trainings, name, Kind.WEIGHT_GRAD, number) for name in truth}
        gradient = max(gradient, farthest(read, truth))
        if step.held:
            own = {name: float(g.norm()) for name, g in step.held.items()}
            held = max(held, farthest({name: read[name] for name in own}, own))
        moved = {name: seen(trainings, name, Kind.UPDATE, number) for name in truth}
        update = max(update, farthest(moved, moves(step, truth)))
        clip = max(clip, clip_error(log, step, trainings, number))
        tape &= all(
            any(
                number in readings.series(path, Kind.ACTIVATION_GRAD, "norm")[0]
                for path in readings.paths(Kind.ACTIVATION_GRAD, "norm")
            )
            for readings in trainings
        )
    counted = all(readings.record.steps == len(log.steps) for readings in trainings)
    return Outcome(gradient, held, update, clip, tape, counted, untouched=True)


def moves(step: Step, names: dict[str, float]) -> dict[str, float]:
    """Return the true |update| of each named parameter."""
    return {name: float((step.after[name] - step.before[name]).norm()) for name in names}


def seen(trainings: Sequence[Readings], name: str, kind: Kind, number: int) -> float:
    """Return what was recorded of `name` at its step `number`, NaN where nothing was."""
    for readings in trainings:
        steps, values = readings.series(name, kind, "norm")
        if number in steps:
            return float(values[steps.tolist().index(number)])
        if kind is Kind.WEIGHT_GRAD and any(
            p.path == name and p.missing and not p.arrived for p in readings.record.parameters
        ):
            return 0.0  # no gradient at all: counted as missing, in no row
    return math.nan


def farthest(read: dict[str, float], truth: dict[str, float]) -> float:
    """Return the largest relative error; infinite where something was not read at all."""
    finite = [value for value in truth.values() if math.isfinite(value)]
    whole = math.hypot(*finite)
    worst = 0.0
    for name, value in truth.items():
        if not math.isfinite(value):
            error = 0.0 if not math.isfinite(read[name]) else math.inf
        elif math.isnan(read[name]):
            error = math.inf
        elif value == 0.0 or whole == 0.0:
            error = 0.0 if read[name] == 0.0 else math.inf
        else:
            error = abs(read[name] - value) / max(value, NEXT_TO_NONE * whole)
        worst = max(worst, error)
    return worst


def clip_error(log: Log, step: Step, trainings: Sequence[Readings], number: int) -> float:
    """Return the error of the recorded coefficient; several optimizers' must agree."""
    factor = log.clip(log.gradient(step)) if log.clip is not None else 1.0
    worst = 0.0
    for readings in trainings:
        steps, values = readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")
        if number in steps:
            value = float(values[steps.tolist().index(number)])
            worst = max(worst, abs(value - factor) / factor)
        elif log.clip is not None:
            worst = math.inf
    return worst

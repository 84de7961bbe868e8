"""How a training broke whose loss or gradients are no numbers any more: by what, and from when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._types import Kind
from .build import REACH_LIMIT, highest_reach
from .first_nan import Broke, find_break
from .progress import survives

if TYPE_CHECKING:
    from ..readings import Readings
    from .case import Case

# What steps that are too long do before the numbers end: float32 overflows at 1e38, and a loss of
# order one does not get there in one step. Chosen: one order above where it was, or a step that
# moves some weight by half of its size (as in learning-rate-too-high).
GROWN = 10.0
VIOLENT = 0.5
_JUST_BEFORE = 3  # losses


@dataclass(frozen=True, slots=True)
class BrokenData:
    """Data that are no finite numbers, at the latest when the loss broke.

    Attributes:
        path: "input" or "target"; or the op that they entered, where only that is known.
        kind: of the rows that say so.
        step: the first one at which they were seen.
        count: of the values that are no finite numbers.
    """

    path: str
    kind: Kind
    step: int
    count: float


def nonfinite_step(case: Case) -> int | None:
    """Return the first step with a non-finite loss or weight gradient."""
    found = [] if case.progress.nonfinite_step is None else [case.progress.nonfinite_step]
    for path in case.readings.paths(Kind.WEIGHT_GRAD, "norm"):
        steps, values = case.readings.series(path, Kind.WEIGHT_GRAD, "norm")
        broken = steps[~np.isfinite(values)]
        if broken.size:
            found.append(int(broken[0]))
    if not found:
        return None
    # a scaler skips such a step by design: one that the training survives is no illness
    survived = case.progress.nonfinite_step is None and survives(case.readings)
    return None if survived else min(found)


def broken_data(case: Case) -> BrokenData | None:
    """Return the data that broke the training, None where it broke otherwise or not at all.

    What is not finite after the loss has broken may be the doing of broken weights: a state that
    is carried on, another network's output.
    """
    broken = nonfinite_step(case)
    if broken is None:
        return None
    for path, kind in (("input", Kind.ACTIVATION), ("target", Kind.LOSS)):
        for step, count in _counts(case.readings, path, kind):
            if count > 0 and step <= broken:
                return BrokenData(path, kind, step, count)
    origin = find_break(case)
    if origin is not None and origin.how is Broke.CONSTANT and origin.step <= broken:
        return BrokenData(origin.path, Kind.ACTIVATION, origin.step, 1.0)
    return None


def _counts(readings: Readings, path: str, kind: Kind) -> list[tuple[int, float]]:
    steps, values = readings.series(path, kind, "nonfinite")
    return list(zip(steps.tolist(), values.tolist(), strict=True))


def broke_suddenly(case: Case) -> bool:
    """Whether the numbers broke although neither loss, nor step, nor path had grown before.

    Steps that are too long announce themselves. A single batch that holds NaN, and a division, a
    root or a logarithm of zero do not.
    """
    broken = nonfinite_step(case)
    if broken is None:
        return False
    earlier = np.asarray(case.steps) < broken
    ratios = case.update_ratio[earlier]
    reaches = [highest_reach(row, case.layers) for row in case.reach[earlier]]
    if np.nanmax(ratios, initial=0.0) > VIOLENT or any(each > REACH_LIMIT for each in reaches):
        return False
    steps, losses = case.readings.losses
    before = losses[(steps < broken) & np.isfinite(losses)]
    if not before.size:
        return True
    known = case.progress.baseline if case.progress.known else 0.0
    level = max(float(before[0]), known, math.ulp(0.0))
    return float(before[-_JUST_BEFORE:].max()) <= GROWN * level

"""Find where the first NaN or infinity came from: which op, in which pass, at which step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from .case import Case


class Broke(Enum):
    """What made the first number that is none."""

    FORWARD = "op"
    CONSTANT = "constant"
    WEIGHT = "weight"
    BACKWARD = "backward"


@dataclass(frozen=True, slots=True)
class Break:
    """The origin of the first NaN or infinity.

    Attributes:
        step: at which it was seen.
        path: of the op.
        how: the op's output, a constant or a weight that enters it, or the gradient it passes on.
        low: the smallest finite value that went in, NaN where it is not known.
        high: the largest.
        largest: the largest number of the output's format.
        suspects: ops whose gradient can have broken the weights, where that is all that is known.
    """

    step: int
    path: str
    how: Broke
    low: float = math.nan
    high: float = math.nan
    largest: float = math.nan
    suspects: tuple[str, ...] = ()


def find_break(case: Case) -> Break | None:
    """Return the origin of the first NaN or infinity, None where no step showed it."""
    forward, backward = _forward(case), _backward(case)
    if forward is None or backward is None:
        return forward or backward
    # an output that is NaN makes the gradients of the same step NaN too
    return backward if backward.step < forward.step else forward


def _forward(case: Case) -> Break | None:
    readings, found = case.readings, []
    for how in (Broke.FORWARD, Broke.CONSTANT, Broke.WEIGHT):
        for path in readings.paths(Kind.ACTIVATION, f"broken_{how.value}"):
            steps, _ = readings.series(path, Kind.ACTIVATION, f"broken_{how.value}")
            found.append((int(steps[0]), path, how))
    if not found:
        return None
    step, path, how = min(found, key=lambda each: each[0])

    def value(name: str) -> float:
        known = readings.at(step, path, Kind.ACTIVATION, f"broken_{name}")
        return math.nan if known is None else known

    suspects = tuple(
        each
        for each in readings.paths(Kind.ACTIVATION, "broken_suspect")
        if readings.at(step, each, Kind.ACTIVATION, "broken_suspect") is not None
    )
    return Break(step, path, how, value("low"), value("high"), value("largest"), suspects)


def _backward(case: Case) -> Break | None:
    """Return the op that was given a finite gradient and passed on another, on a sampled step."""
    found = []
    for path in case.readings.paths(Kind.ACTIVATION, "broken_backward"):
        steps, _ = case.readings.series(path, Kind.ACTIVATION, "broken_backward")
        found.append(Break(int(steps[0]), path, Broke.BACKWARD))
    return min(found, key=lambda each: each.step, default=None)

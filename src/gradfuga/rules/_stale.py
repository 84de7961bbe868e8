"""Whether gradients are cleared between the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind
from ._samples import median

if TYPE_CHECKING:
    from ..analysis.case import Case

# A cleared gradient leaves exactly 0; one that is never cleared leaves most of itself, because
# one more batch changes a sum of many but little.
STALE = 0.5
_FEWEST = 3  # samples after the first: once may be an accident, three in a row are a habit


@dataclass(frozen=True, slots=True)
class Leftover:
    """What was left of the old gradient: the median over the samples, and the last sample."""

    share: float
    step: int


def leftover(case: Case) -> Leftover | None:
    """Return how much old gradient a step starts from; None where too few samples say it."""
    steps, values = case.readings.series("optimizer", Kind.WEIGHT_GRAD, "stale")
    known = [
        (step, value)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True)
        if step > 0 and math.isfinite(value)
    ]
    if len(known) < _FEWEST:
        return None
    return Leftover(median(value for _, value in known), known[-1][0])


def never_zeroed(case: Case) -> bool:
    """Whether every step still holds the gradients of the steps before it."""
    left = leftover(case)
    return left is not None and left.share > STALE

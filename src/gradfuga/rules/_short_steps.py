"""What shortens the steps besides the learning rate: clipping, epsilon, clearing too early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._types import Kind
from ._samples import median

if TYPE_CHECKING:
    from ..analysis.case import Case

_LEAST = 1e-300  # so that one can divide by what is left of a step


def clip_coefficient(case: Case) -> float:
    """Return the median factor that clipping puts on the gradient, 1 where it was not seen.

    Adam and its kind divide by the gradient's own size: clipping does not shorten their steps.
    """
    if case.readings.paths(Kind.UPDATE, "attenuation"):
        return 1.0
    from ..analysis.clipping import kept_by_clipping  # noqa: PLC0415 (analysis loads numpy)

    factor = median(kept_by_clipping(case))
    return min(1.0, max(factor, _LEAST)) if math.isfinite(factor) else 1.0


def wiped_steps(case: Case, *, share: float = 0.9, fewest: int = 3) -> tuple[int, ...]:
    """Return the samples whose step was given exactly nothing of the gradient that was there.

    None at all where they are fewer than `fewest`, or than `share` of the samples.
    """
    steps, values = case.readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")
    found = tuple(steps[values == 0.0].tolist())
    return found if len(found) >= max(fewest, share * len(steps)) else ()


def attenuation(case: Case) -> float:
    """Return what epsilon leaves of the best served weight's step, 1 where it was not seen."""
    weights = {layer.weight for layer in case.layers}
    shares = [
        median(case.readings.series(path, Kind.UPDATE, "attenuation")[1].tolist())
        for path in case.readings.paths(Kind.UPDATE, "attenuation")
        if path in weights
    ]
    known = [share for share in shares if math.isfinite(share)]
    return min(1.0, max(*known, _LEAST)) if known else 1.0

"""What clipping leaves of the gradient, sample by sample."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from .case import Case


def kept_by_clipping(case: Case) -> list[float]:
    """Return at each sample what clipping leaves of the typical weight's gradient; 1 for all of it.

    Under clipping by the norm of everything that is what it leaves of the whole. Where groups
    are clipped apart, or values, the whole is a few loud weights' alone: there the median over the
    weights counts, as far as their parts were recorded.
    """
    readings = case.readings
    steps, wholes = readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")
    weights = [each.weight for each in case.layers]
    kept: list[float] = []
    for step, whole in zip(steps.tolist(), wholes.tolist(), strict=True):
        parts = (readings.at(step, w, Kind.WEIGHT_GRAD, "clip_coefficient") for w in weights)
        known = [part for part in parts if part is not None and part == part]  # noqa: PLR0124
        kept.append(statistics.median(known) if known else whole)
    return kept

"""Sum up the reach of every layer over the samples: first, late, lowest, highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.build import late_samples
from ..analysis.case import Case

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class ReachSummary:
    """Reach of every layer in decades, each `[L]`; NaN where unread, -inf where exactly zero.

    `late` is the median of the last samples, those that the verdict rests on; of a layer that was
    not read there, as after an overflow, the last reading.
    """

    first: Floats
    late: Floats
    low: Floats
    high: Floats


def sum_up(case: Case) -> ReachSummary:
    """Return the summary of the case's reach over the sampled steps."""
    reach = case.reach
    if not len(reach):
        empty = np.full(len(case.layers), np.nan)
        return ReachSummary(empty, empty, empty, empty)
    window = late_samples(case.steps, case.total_steps) or [len(reach) - 1]
    unread = np.isnan(reach)
    never = unread.all(axis=0)
    return ReachSummary(
        first=reach[0],
        late=np.array([_late(column, window) for column in reach.T]),
        low=np.where(never, np.nan, np.where(unread, np.inf, reach).min(axis=0)),
        high=np.where(never, np.nan, np.where(unread, -np.inf, reach).max(axis=0)),
    )


def _late(values: Floats, window: list[int]) -> float:
    """Median of what was read; where it falls between two, the lower one, as -inf has no mean."""
    read = np.sort(values[window][~np.isnan(values[window])])
    if len(read):
        return float(read[(len(read) - 1) // 2])
    ever = values[~np.isnan(values)]
    return float(ever[-1]) if len(ever) else float("nan")

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

    `late` is the median of the last samples, those that the verdict rests on.
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
        late=np.array([_median(column) for column in reach[window].T]),
        low=np.where(never, np.nan, np.where(unread, np.inf, reach).min(axis=0)),
        high=np.where(never, np.nan, np.where(unread, -np.inf, reach).max(axis=0)),
    )


def _median(values: Floats) -> float:
    """Median of what was read; where it falls between two, the lower one, as -inf has no mean."""
    read = np.sort(values[~np.isnan(values)])
    return float(read[(len(read) - 1) // 2]) if len(read) else float("nan")

"""Ask a case for one statistic: at a step, or over the last samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._types import Kind
    from ..analysis.case import Case


def value_at(case: Case, path: str, kind: Kind, statistic: str, step: int) -> float:
    """Return the finite value recorded at `step`, NaN where there is none."""
    value = case.readings.at(step, path, kind, statistic)
    return value if value is not None and math.isfinite(value) else math.nan


def late_steps(case: Case) -> tuple[int, ...]:
    """Return the last up to 4 sampled steps of the last quarter of the run."""
    from ..analysis.build import late_samples  # noqa: PLC0415 (numpy: the catalogue needs none)

    return tuple(case.steps[place] for place in late_samples(case.steps, case.total_steps))


def late_median(case: Case, path: str, kind: Kind, statistic: str) -> float:
    """Return the median over the last samples, NaN where nothing was recorded."""
    return median(value_at(case, path, kind, statistic, step) for step in late_steps(case))


def median(values: Iterable[float]) -> float:
    """Return the median of the finite values, NaN where there is none.

    Example:
        >>> median([1.0, float("nan"), 3.0])
        2.0
    """
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else math.nan

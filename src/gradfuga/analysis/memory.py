"""Memory: how far back in time the gradient of a recurrent network reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._types import Kind
from ..readings import Readings
from ..theory.recurrent import HORIZON
from .lag_profile import LagProfile, joint_reach

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_LATE = 4  # samples that speak for the end of a run
_FEWEST_LAGS = 3  # that a rate is fitted to
_TINY = 1e-280  # beyond, float64 itself runs out


def recurrences(readings: Readings) -> tuple[str, ...]:
    """Return the paths of the recurrences that were probed."""
    return readings.paths(Kind.ACTIVATION_GRAD, "lag_norm.1")


def probed_steps(readings: Readings, path: str) -> tuple[int, ...]:
    """Return the steps at which the recurrence at `path` was probed."""
    return tuple(readings.series(path, Kind.ACTIVATION_GRAD, "lag_norm.1")[0].tolist())


def profile(readings: Readings, path: str, steps: Sequence[int]) -> LagProfile:
    """Return the median profile of the recurrence at `path` over the probes at `steps`."""
    lags = sorted(
        int(statistic.rpartition(".")[2])
        for statistic in readings.statistics(path, Kind.ACTIVATION_GRAD)
        if statistic.startswith("lag_norm.")
    )
    norm, spread, kept = [], [], []
    for lag in lags:
        values = _at(readings, path, f"lag_norm.{lag}", steps)
        if values.size:
            kept.append(lag)
            norm.append(float(np.median(values)))
            others = _at(readings, path, f"lag_spread.{lag}", steps)
            spread.append(float(np.median(others)) if others.size else 0.0)
    backward = readings.series(path, Kind.ACTIVATION, "time_backward")[1]
    lengths = readings.series(path, Kind.ACTIVATION, "time_steps")[1]
    cuts = readings.series(path, Kind.ACTIVATION, "time_cut")[1]
    return LagProfile(
        path=path,
        direction="backward" if backward.size and backward[0] else "forward",
        lag=tuple(kept),
        norm=tuple(norm),
        spread=tuple(spread),
        rate=rate_of(kept, norm),
        horizon=horizon_of(kept, norm),
        steps=int(lengths.max()) if lengths.size else 0,
        cut=int(cuts[-1]) if cuts.size else None,
        step=int(steps[-1]),
        continued=_is_continued(readings, path),
    )


def _is_continued(readings: Readings, path: str) -> bool:
    return bool(readings.series(path, Kind.ACTIVATION, "time_continued")[1].any())


def _at(readings: Readings, path: str, statistic: str, steps: Sequence[int]) -> Floats:
    taken, values = readings.series(path, Kind.ACTIVATION_GRAD, statistic)
    chosen = values[np.isin(taken, np.asarray(steps))]
    return chosen[~np.isnan(chosen)]


def first_profiles(readings: Readings) -> tuple[LagProfile, ...]:
    """Return every recurrence as it was before any update."""
    return tuple(
        profile(readings, path, probed_steps(readings, path)[:1]) for path in recurrences(readings)
    )


def late_profiles(readings: Readings) -> tuple[LagProfile, ...]:
    """Return every recurrence as its last probes show it."""
    return tuple(
        profile(readings, path, _sound_steps(readings, path)[-_LATE:])
        for path in recurrences(readings)
    )


def _sound_steps(readings: Readings, path: str) -> tuple[int, ...]:
    """Return the probes before the loss broke, and with numbers at every lag; all if none is."""
    probed = probed_steps(readings, path)
    steps, values = readings.losses
    lost = steps[~np.isfinite(values)]
    broken = {step for step in probed if lost.size and step >= lost[0]}
    for statistic in readings.statistics(path, Kind.ACTIVATION_GRAD):
        if statistic.startswith("lag_norm."):
            steps, values = readings.series(path, Kind.ACTIVATION_GRAD, statistic)
            broken.update(steps[~np.isfinite(values)].tolist())
    return tuple(step for step in probed if step not in broken) or probed


def ends_are_read(readings: Readings, *, per_step: bool) -> bool:
    """Whether what the gradient reaches back from an output bounds what the network can learn.

    Not where a layer reads backward too, so that the first steps are next to some output, nor
    where one output reads many steps directly (a mean, an attention).

    Args:
        readings: of the training.
        per_step: whether every step has a target of its own.
    """
    continued = {path: _is_continued(readings, path) for path in recurrences(readings)}
    pair = len(set(continued.values())) > 1  # an encoder and its decoder
    for path, decodes in continued.items():
        backward = readings.series(path, Kind.ACTIVATION, "time_backward")[1]
        read = readings.series(path, Kind.ACTIVATION, "read_steps")[1]
        several = bool(read.size) and float(np.median(read)) > 1.0
        steps_are_told = decodes if pair else per_step
        if backward.any() or (several and not steps_are_told):
            return False
    return True


def longest_reach(readings: Readings) -> float:
    """Return how many steps back the farthest-reaching recurrence reaches at the end of the run.

    NaN without a recurrence.
    """
    return joint_reach(late_profiles(readings))


def rate_of(lag: Sequence[int], norm: Sequence[float]) -> float:
    """Return the gain per step: the median slope of log norm over lag, first lag left out.

    Between lag 1 and 2 the gradient still turns into the directions that last.

    Example:
        >>> round(rate_of([1, 2, 4, 8], [9.0, 0.25, 0.0625, 0.00390625]), 3)
        0.5
    """
    pairs = [
        (k, math.log(value))
        for k, value in zip(lag, norm, strict=True)
        if k > 1 and _TINY < value < math.inf
    ]
    if len(pairs) < _FEWEST_LAGS:
        return math.nan
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for place, earlier in enumerate(pairs)
        for later in pairs[place + 1 :]
    ]
    return float(np.exp(np.median(slopes)))


def horizon_of(lag: Sequence[int], norm: Sequence[float]) -> float:
    """Return the first lag at which the norm is below 1e-3 of that at lag 1, inf where none is.

    Example:
        >>> horizon_of([1, 2, 4, 8, 16], [1.0, 0.5, 0.1, 0.01, 0.0001])
        12.0
    """
    if not norm or not 0.0 < norm[0] < math.inf:
        return math.nan
    level = math.log(HORIZON * norm[0])
    before: tuple[int, float] | None = None
    for k, value in zip(lag, norm, strict=True):
        now = math.log(max(value, _TINY)) if not math.isnan(value) else math.nan
        if now < level:
            if before is None or math.isinf(before[1]):
                return float(k)
            share = (before[1] - level) / (before[1] - now)
            return float(math.ceil(before[0] + share * (k - before[0]) - 1e-9))
        if not math.isnan(now):
            before = (k, now)
    return math.inf

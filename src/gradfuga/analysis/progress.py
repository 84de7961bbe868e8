"""What the loss did: whether the network has learned anything, tested against noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .._types import Kind
from ..readings import Readings

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Steps = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# Memorised random labels reach .02 to .03 of the way, the slowest healthy learner .12
# (evaluation of the decision rule on 702 labelled trainings).
INFORMED = 0.05
# Below half of what the task is known to permit, progress is poor: at 0.6 healthy runs are lost,
# at 0.3 fatal ones (same evaluation, where all tasks permitted 1).
POOR = 0.5
# A network that reaches this share of the reference does what the task is known to permit.
LIKE_REFERENCE = 0.8
# Below this the reference itself has found next to nothing: it says nothing about the task.
TELLING_REFERENCE = 0.1
# Progress is a gain where its self-normalized sum is larger: sum(g) / sqrt(sum(g^2)) over the
# second half of the run, of the losses that the best constant would have had on the very same
# batches less the network's. A network without knowledge has E[g] <= 0 given its past: then this
# happens once in 10,000 runs by the normal law, and at most once in 1,000 whatever the law of the
# noise, as long as it is symmetric: exp(-z^2 / 2), Efron 1969. It takes 14 pairs to get there.
BEYOND_CHANCE = 3.72
# Progress that could not be told from none by anybody who needs it: chosen.
NOTHING = 0.01
_LATE_SHARE, _LATE_LEAST = 0.2, 8
_FEWEST_PAIRS = 4
_BLOCKS = 12
FALLING_Z = -2.5  # one-sided, p = .006
_UNREAD = 0.1  # chosen: a part of the loss that could not be read and is more than a penalty
# Targets move while the network trains where what the best constant loses on a batch has a trend
# beyond chance (p = .001, two-sided) and doubles or halves from the first quarter to the last.
_DRIFT_Z, _DRIFT = 3.29, 2.0
_LOST_IN_ROUNDING = 1e4  # a loss so many baselines large leaves 3 digits of a float32 difference


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one training.

    `u` is 1 - (loss - floor) / (baseline - floor): 0 for the best constant prediction, 1 for a
    loss of zero. It does not change when the loss is multiplied by a constant.

    Attributes:
        known: whether a baseline is known, so that `u` means something.
        moving: whether the targets change so much while the network trains that its loss need not
            fall: those of another network (bootstrapped values, a moving teacher) do.
        baseline: total loss of the best constant prediction; NaN where the targets were not seen.
        u: over the last losses; NaN where it is not known.
        error: standard error of `u`.
        reference: the `u` that a cheap reference model reaches on held-out examples of the same
            batches, a lower bound on what the task permits; NaN where there is none.
        reference_error: its standard error, 0 where it is not known.
        half_step: the first step at which half of the final progress was made.
        falling: whether the last half of the losses still falls (Mann-Kendall, z < -2.5).
        trend: that z.
        nonfinite_step: the first step with a NaN or infinite loss, None where there is none, or
            where the training goes on as if nothing were.
        first: the first loss, None where none was seen.
        last: the mean of the last losses, None where none was seen.
        gain: the same progress from pairs: what the best constant would have lost on the same
            batches less the network's loss, over the second half of the run, so that what the
            batches differ by cancels; NaN where fewer than 4 were seen.
        gain_error: its standard error.
        most: the progress that the run may have made at most, one-sided, p = .023.
        informed: `u` is above what memorising and a bias can do, by more than noise.
        weak: not informed, yet `gain` is above zero by more than chance.
        lags: less than half of what the task is known to permit, by more than both errors.
        nothing: known to have learned less than a hundredth, or next to nothing of what the task
            permits; a gain beyond chance may be as small as that.
        poor: less than half of what the task is known to permit.
        open: less than half of the way to zero, and it is not known whether the task permits more.
    """

    known: bool
    moving: bool
    baseline: float
    u: float
    error: float
    reference: float
    reference_error: float
    gain: float
    gain_error: float
    most: float
    half_step: int
    falling: bool
    trend: float
    nonfinite_step: int | None
    first: float | None
    last: float | None
    informed: bool
    weak: bool
    lags: bool
    nothing: bool
    poor: bool
    open: bool

    @property
    def well(self) -> bool:
        """Whether what the task is known to permit was learned, or most of the way."""
        return self.informed and not self.poor and not self.open


def measure_progress(readings: Readings) -> Progress:
    """Measure the progress that the losses of `readings` show."""
    steps, losses = readings.losses
    finite = np.isfinite(losses)
    broken = steps[~finite]
    nonfinite_step = int(broken[0]) if broken.size and not _passes(readings) else None
    good_steps, good = steps[finite], losses[finite]
    if good.size == 0:
        return Progress(
            False, False, math.nan, math.nan, math.nan, math.nan, 0.0, math.nan, math.nan, math.nan,
            0, False, 0.0, nonfinite_step, None, None,
            False, False, False, False, False, False,
        )  # fmt: skip
    late = good[-max(_LATE_LEAST, round(_LATE_SHARE * good.size)) :]
    last = float(late.mean())
    learnable, floor = _baseline(readings)
    z = mann_kendall(block_means(good[good.size // 2 :]))
    reference = _last(readings, "reference")
    first = float(good[0])
    known = math.isfinite(learnable) and learnable > 0.0  # 0 where the targets are constant
    moving = known and _moving(readings, learnable)
    if moving or (known and abs(_middle(readings, "unread")) > _UNREAD * learnable):
        # the rest may be where the network learns: what was read can show progress, not its lack
        gain = (learnable + floor - last) / learnable
        known = gain - 2.0 * _standard_error(late) / learnable > INFORMED
    u = (learnable + floor - last) / learnable if known else math.nan
    error = _standard_error(late) / learnable if known else math.nan
    pairs = _pairs(readings, learnable) if known else _NO_PAIRS
    clearly = u - 2.0 * error > INFORMED or (pairs.z > BEYOND_CHANCE and pairs.least > INFORMED)
    informed = known and clearly
    permitted = reference if math.isfinite(reference) else 0.0
    reached = pairs.gain if pairs.gain > u else u  # either may have been held down by its noise
    poor = informed and reached < POOR * permitted
    most = pairs.most if math.isfinite(pairs.most) else u + 2.0 * error
    reference_error = float(np.nan_to_num(_last(readings, "reference_error")))
    sure = permitted - 2.0 * reference_error
    lags = known and sure >= TELLING_REFERENCE and most < POOR * sure
    weak = known and not informed and pairs.z > BEYOND_CHANCE
    like = permitted >= TELLING_REFERENCE and reached >= LIKE_REFERENCE * permitted
    return Progress(
        known=known,
        moving=moving,
        baseline=learnable + floor,
        u=u,
        error=error,
        reference=reference,
        reference_error=reference_error,
        gain=pairs.gain,
        gain_error=pairs.error,
        most=most,
        half_step=_half_step(good_steps, good, learnable + floor if known else good[0], last),
        falling=bool(z < FALLING_Z),
        trend=z,
        nonfinite_step=nonfinite_step,
        first=first,
        last=last,
        informed=informed,
        weak=weak,
        lags=lags,
        nothing=known and not informed and (lags or most < NOTHING),
        poor=poor,
        open=informed and reached < POOR and not poor and not like,
    )


def survives(readings: Readings) -> bool:
    """Whether every weight is a finite number where it was last seen."""
    for path in readings.paths(Kind.WEIGHT, "norm"):
        values = readings.series(path, Kind.WEIGHT, "norm")[1]
        if values.size and not math.isfinite(float(values[-1])):
            return False
    return True


def _passes(readings: Readings) -> bool:
    """Whether losses that are not finite left no trace: most of what follows the first is finite.

    A mean over nothing is one: an empty batch, labels that are all left out. Its gradient is zero.
    """
    losses = readings.losses[1]
    first = int(np.flatnonzero(~np.isfinite(losses))[0])
    later = losses[first + 1 :]
    return later.size > 0 and float(np.isfinite(later).mean()) > 0.5 and survives(readings)  # noqa: PLR2004 (half)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Progress by pairs of losses on the same batch, and its bounds.

    `z` is the self-normalized sum.
    """

    gain: float
    error: float
    least: float
    most: float
    z: float


_NO_PAIRS = _Pairs(math.nan, math.nan, math.nan, math.nan, 0.0)


def _pairs(readings: Readings, learnable: float) -> _Pairs:
    steps, gains = readings.series("loss", Kind.LOSS, "gain")
    late = gains[(2 * steps >= readings.record.steps) & np.isfinite(gains)] / learnable
    if late.size < _FEWEST_PAIRS:
        return _NO_PAIRS
    gain = float(late.mean())
    error = math.hypot(*(late - gain).tolist()) / math.sqrt(late.size * (late.size - 1))
    quantile = 2.0 + 4.0 / (late.size - 1)  # of Student's t, rounded up
    length = math.hypot(*late.tolist())
    z = gain * late.size / length if length > 0.0 else 0.0
    return _Pairs(gain, error, gain - quantile * error, gain + quantile * error, z)


def _moving(readings: Readings, learnable: float) -> bool:
    """Whether what the best constant loses on a batch drifts over the run."""
    steps, gains = readings.series("loss", Kind.LOSS, "gain")
    at, losses = readings.losses
    _both, mine, paired = np.intersect1d(at, steps, return_indices=True)
    own = losses[mine]
    constant = own + gains[paired]
    constant = constant[np.isfinite(constant) & (own < _LOST_IN_ROUNDING * learnable)]
    quarter = constant.size // 4
    if constant.size < _BLOCKS or abs(mann_kendall(block_means(constant))) < _DRIFT_Z:
        return False
    low, high = sorted((np.median(constant[:quarter]), np.median(constant[-quarter:])))
    return bool(high > _DRIFT * low)


def _last(readings: Readings, statistic: str) -> float:
    values = readings.series("loss", Kind.LOSS, statistic)[1]
    return float(values[-1]) if values.size else math.nan


def _middle(readings: Readings, statistic: str) -> float:
    values = readings.series("loss", Kind.LOSS, statistic)[1]
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else 0.0


def _baseline(readings: Readings) -> tuple[float, float]:
    """Return what the best constant adds to the loss, and the part of the loss that stays.

    The first from the targets pooled over all samples, the second (weight penalties, terms that
    were not read) from the last samples.
    """
    constants = readings.series("loss", Kind.LOSS, "baseline")[1]
    floors = readings.series("loss", Kind.LOSS, "floor")[1]
    usable = np.isfinite(constants) & np.isfinite(floors)
    if not usable.any():
        return math.nan, 0.0
    learnable = float(constants[usable][-1] - floors[usable][-1])
    floor = float(np.median(floors[usable][-4:]))
    negligible = abs(floor) < 1e-6 * abs(learnable)  # rounding of float32 losses
    return learnable, 0.0 if negligible else floor


def _standard_error(late: Floats) -> float:
    """Return the standard error of the mean of the last losses, robust to trend and outliers."""
    if late.size < 3:  # noqa: PLR2004
        return float(np.abs(late - late.mean()).max(initial=0.0)) or math.inf
    size = float(np.abs(late).max())
    late = late / (size or 1.0)  # the square of a loss of 1e200 would overflow
    steps = np.diff(late)
    mad = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2.0)
    x = np.arange(late.size)
    trend = np.polyval(np.polyfit(x, late, 1), x)
    spread = float((late - trend).std(ddof=1))
    return size * 1.3 * max(mad, 0.7 * spread) / math.sqrt(late.size)


def block_means(values: Floats) -> Floats:
    """Return the means of 12 successive blocks; the values themselves where they are fewer."""
    if values.size < _BLOCKS:
        return values
    return np.array([block.mean() for block in np.array_split(values, _BLOCKS)])


def mann_kendall(values: Floats) -> float:
    """Return the Mann-Kendall z: below -2.5 the values fall, above 2.5 they rise.

    Example:
        >>> round(mann_kendall(np.arange(12.0)), 2)
        4.46
    """
    n = values.size
    if n < 4:  # noqa: PLR2004
        return 0.0
    score = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18.0)
    return (score - math.copysign(1.0, score)) / spread if score else 0.0


def _half_step(steps: Steps, losses: Floats, start: float, last: float) -> int:
    """Return the first step at which a smoothed loss is half the way from `start` to `last`."""
    if start <= last:
        return int(steps[-1])
    width = max(1, losses.size // 50)
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    below = np.flatnonzero(smooth <= 0.5 * (start + last))
    place = int(below[0]) + width - 1 if below.size else losses.size - 1
    return int(steps[min(place, losses.size - 1)])

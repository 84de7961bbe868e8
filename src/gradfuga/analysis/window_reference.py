"""What does a task permit to a model that remembers H steps, and what to one that remembers all?

The first is the bound for a network whose gradient reaches H steps back. Where a cheap model that
sees the whole sequence does better than one that sees its end, the task needs a longer memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .calibration import binary_losses, sigmoid_losses, softmax_losses, squared_losses
from .kernel_ridge import Smoother
from .memory_pairs import MemoryPairs
from .reference import Family
from .selection import FOLDS, Candidates, cross_fitted

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

FEWEST_EXAMPLES = 100  # below, a lag that says nothing looks telling too often
MOST_EXAMPLES = 512  # a kernel's eigenvectors take 0.1 s
_EXACT_LAGS = 64  # beyond, neighbouring lags share one column each
_MOST_KINDS = 64  # of tokens that are told apart
_FEW_COLUMNS = 8  # a step of at most so many numbers is given their products too
_MOST_COLUMNS = 64
_TELLING_LAGS = 3  # single lags that are tried beside the last steps
_STARTS = (4, 16)  # first steps that are tried together: an instruction, a header, a topic
_TELLS = 0.5  # of what all steps tell: then one lag is what the task is about
_FEWEST_KNOWN = 16  # examples with a loss of the network's own
_CLEAR = 3.0  # standard errors
_WEIGHT = 3.0  # of a single lag against one of the last steps: a ridge believes large columns


@dataclass(frozen=True, slots=True)
class WindowReference:
    """Progress, 1 - loss / loss of the best constant, on held-out examples; NaN where unknown.

    Attributes:
        memoryless: of a model that sees the last step only.
        short: of a model that sees the last `horizon` steps.
        long: of the best of models that see steps before, never below `short`.
        error: standard error of `long - short`.
        lag: the single lag beyond the horizon that tells most of that, 0 where none does.
        way: how far the network has come from `short` (0) to `long` (1), on the very examples
            whose losses under it are known and where `long` is worth more; NaN where none are.
    """

    memoryless: float
    short: float
    long: float
    error: float
    lag: int
    way: float


UNKNOWN = WindowReference(math.nan, math.nan, math.nan, math.nan, 0, math.nan)


def window_reference(pairs: MemoryPairs, *, horizon: int) -> WindowReference:
    """Hold models with a memory of `horizon` steps against models without that bound.

    Ridge regressions on the steps' values (one-hot tokens; products of few numbers) and on the
    position of the target, judged by losses of the network's own family on sequences that they
    have not seen.

    Args:
        pairs: of the task.
        horizon: H, in steps; the last step has lag 0.

    Example:
        >>> from gradfuga.analysis.memory_pairs import SequenceBatch, draw_pairs
        >>> generator = np.random.default_rng(0)
        >>> x = generator.integers(0, 4, (400, 30))
        >>> batch = SequenceBatch(x, x[:, 5], None)
        >>> pairs = draw_pairs([batch], family="classification", horizon=10, per_step=False)
        >>> found = window_reference(pairs, horizon=10)
        >>> round(found.short, 1), found.long > 0.8, found.lag
        (0.0, True, 24)
    """
    kept = np.random.default_rng(0).permutation(len(pairs.inputs))[:MOST_EXAMPLES]
    family, fed = pairs.family, pairs.inputs[kept]
    goals = _goals(pairs.targets[kept], family)
    if len(fed) < FEWEST_EXAMPLES or goals.shape[1] == 0 or fed.shape[1] <= horizon:
        return UNKNOWN
    steps = _columns(fed)[:, ::-1]  # lag 0 first
    if not np.isfinite(steps).all() or not np.isfinite(goals).all():
        return UNKNOWN
    constant, losses_of = _losses(goals, family)
    groups = np.unique(pairs.sequence[kept], return_inverse=True)[1].astype(np.int64)
    alone_each = int(groups.max()) == len(groups) - 1
    folds: Integers = (groups % FOLDS).astype(np.int64)
    place = _gram(_one_hot(pairs.position[kept])[:, None])
    last, near = place + _gram(steps[:, :1]), place + _gram(steps[:, : max(horizon, 1)])
    whole = near + _gram(_binned(steps[:, horizon:]))

    def offer(name: str, kernel: Floats) -> Candidates:
        smoother = _smoother(kernel, None if alone_each else groups)
        return Candidates(name, losses_of(smoother, goals))

    of_last, of_near, of_all = offer("last", last), offer("near", near), offer("whole", whole)
    alone = [
        offer(str(lag), near + _WEIGHT * _gram(steps[:, [lag]]))
        for lag in (horizon + _telling(steps[:, horizon:], goals)).tolist()
    ]
    starts = [
        offer(f"first {count}", near + _WEIGHT * _gram(steps[:, -count:]))
        for count in _STARTS
        if count <= (steps.shape[1] - horizon) // 2
    ]
    base = float(constant.mean())
    memoryless = cross_fitted(constant, [of_last], folds)
    short = cross_fitted(constant, [of_last, of_near], folds)
    single = cross_fitted(constant, [of_last, of_near, *alone], folds)
    everything = cross_fitted(constant, [of_last, of_near, of_all, *alone, *starts], folds)
    long = min(short, single, everything, key=lambda chosen: float(chosen.losses.mean()))
    gain = short.losses - long.losses
    from_single = float((short.losses - single.losses).mean())
    tells = single.kind.isdigit() and from_single > _TELLS * float(gain.mean())
    return WindowReference(
        memoryless=1.0 - float(memoryless.losses.mean()) / base,
        short=1.0 - float(short.losses.mean()) / base,
        long=1.0 - float(long.losses.mean()) / base,
        error=_error_of_mean(gain, groups) / base,
        lag=int(single.kind) if tells else 0,
        way=_way(short.losses - pairs.losses[kept], gain, groups),
    )


def _way(ahead: Floats, gain: Floats, groups: Integers) -> float:
    """Return what the network has gained over a short memory, as a share of what a long one has.

    Args:
        ahead: by how much the network's loss is below that of the short memory, `[N]`; NaN where
            it is not known.
        gain: the same of the long memory.
        groups: of examples that are not independent, `[N]`.
    """
    known = np.isfinite(ahead)
    if int(known.sum()) < _FEWEST_KNOWN:
        return math.nan
    worth = float(gain[known].mean())
    if worth <= _CLEAR * _error_of_mean(gain[known], groups[known]):
        return math.nan
    return float(ahead[known].mean()) / worth


def _error_of_mean(values: Floats, groups: Integers) -> float:
    """Return the standard error of a mean over examples of which those of a group go together."""
    centered = values - values.mean()
    sums = np.bincount(groups, weights=centered)
    return math.sqrt(float((sums**2).sum())) / len(values)


def _one_hot(positions: Integers) -> Floats:
    kinds = np.unique(positions, return_inverse=True)[1]
    return np.asarray(np.eye(int(kinds.max()) + 1)[kinds])


def _goals(targets: Numbers, family: Family) -> Floats:
    goals = targets.reshape(len(targets), -1).astype(np.float64)
    if family in ("classification", "language") and goals.shape[1] == 1:
        classes, labels = np.unique(goals[:, 0], return_inverse=True)
        goals = np.eye(classes.size)[labels]
    return np.asarray(goals[:, goals.max(axis=0) > goals.min(axis=0)])


def _losses(goals: Floats, family: Family) -> tuple[Floats, Callable[[Smoother, Floats], Floats]]:
    mean = goals.mean(axis=0)
    if family in ("classification", "language"):
        return -(goals * np.log(mean)).sum(axis=1), softmax_losses
    if family == "binary":
        return binary_losses(goals, np.broadcast_to(mean, goals.shape)), sigmoid_losses
    return ((goals - mean) ** 2).sum(axis=1), squared_losses


def _columns(inputs: Numbers) -> Floats:
    """Return features of every step, `[N, T, F]`."""
    if inputs.ndim == 2 and np.issubdtype(inputs.dtype, np.integer):  # noqa: PLR2004 (tokens)
        kinds = np.unique(inputs, return_inverse=True)[1].reshape(inputs.shape)
        count = int(kinds.max()) + 1
        return np.asarray(np.eye(min(count, _MOST_KINDS))[kinds % _MOST_KINDS])
    values = inputs.reshape(*inputs.shape[:2], -1).astype(np.float64)
    if values.shape[2] > _MOST_COLUMNS:
        values = values[:, :, :: -(-values.shape[2] // _MOST_COLUMNS)]
    center, scale = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    values = (values - center) / np.where(scale > 0.0, scale, 1.0)
    count = values.shape[2]
    if count <= _FEW_COLUMNS:
        left, right = np.triu_indices(count)
        products = values[:, :, left] * values[:, :, right]
        values = np.concatenate([values, products], axis=2)
    return values


def _binned(steps: Floats) -> Floats:
    """Return the steps with far ones averaged, in bins that grow with the lag."""
    count = steps.shape[1]
    if count <= _EXACT_LAGS:
        return steps
    edges = sorted({*range(_EXACT_LAGS), *np.geomspace(_EXACT_LAGS, count, 33).astype(int)})
    parts = [
        steps[:, start:end].mean(axis=1) * math.sqrt(end - start)
        for start, end in zip(edges, [*edges[1:], count], strict=True)
        if end > start
    ]
    return np.stack(parts, axis=1)


def _gram(steps: Floats) -> Floats:
    """Return the linear kernel of centred steps, `[N, N]`."""
    flat = steps.reshape(len(steps), -1)
    flat = flat - flat.mean(axis=0)
    return np.asarray(flat @ flat.T)


def _smoother(kernel: Floats, groups: Integers | None) -> Smoother:
    values, vectors = np.linalg.eigh(kernel)
    used = values > 1e-10 * max(float(values[-1]), 1e-300)
    return Smoother(vectors[:, used], values[used], groups)


def _telling(steps: Floats, goals: Floats) -> Integers:
    """Return the lags whose step alone explains most of the targets, the best first."""
    centered = goals - goals.mean(axis=0)
    scores = []
    for lag in range(steps.shape[1]):
        features = steps[:, lag] - steps[:, lag].mean(axis=0)
        covariance = features.T @ features
        ridge = 1e-6 * max(float(np.trace(covariance)), 1e-300) * np.eye(len(covariance))
        crossed = features.T @ centered
        scores.append(float((crossed * np.linalg.solve(covariance + ridge, crossed)).sum()))
    order: Sequence[int] = np.argsort(scores)[::-1][:_TELLING_LAGS].tolist()
    return np.asarray(order, dtype=np.int64)

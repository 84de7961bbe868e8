"""Decide by pairs: is an arm better than another, seed by seed, by more than chance?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ..analysis.progress import INFORMED, LIKE_REFERENCE, POOR, TELLING_REFERENCE
from ..experiment import Arm, Comparison

# The least progress that counts as learning (see `progress`), and so the least gain worth a
# treatment; on a scale of log losses, 5 % of the loss.
WORTHWHILE = INFORMED
# A treatment that gets this share of the best one's progress works as well: then size decides.
# The same share at which a network does what its task is known to permit.
AS_GOOD = LIKE_REFERENCE
CONFIDENCE = 0.95
_ENUMERATED = 16  # 65,536 sign patterns; more seeds than that are drawn
_HALVINGS = 200


def compare(untreated: Arm, treated: Arm) -> Comparison | None:
    """Compare two arms over the seeds that both have run with; None without a common one.

    The interval is Student's t on the paired differences, so it takes them for normal. The p
    value takes nothing for granted but that under no effect their signs are arbitrary.
    """
    theirs = {run.seed: run.score for run in treated.runs if not run.failed}
    pairs = [
        theirs[run.seed] - run.score
        for run in untreated.runs
        if not run.failed and run.seed in theirs
    ]
    differences = np.array([each for each in pairs if math.isfinite(each)])
    if differences.size == 0:
        return None
    mean = float(differences.mean())
    half = math.inf
    if differences.size > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
        half = student_quantile(0.5 + CONFIDENCE / 2, differences.size - 1) * error
    return Comparison(mean, (mean - half, mean + half), sign_flip(differences), differences.size)


def better(comparison: Comparison | None) -> bool:
    """Whether the whole interval lies above the least gain worth a treatment."""
    return comparison is not None and comparison.interval[0] > WORTHWHILE


def beats(comparison: Comparison | None) -> bool:
    """Whether a control is better than the winner: beyond chance, and by what is worthwhile.

    Less than is asked of a treatment, whose whole interval has to be worthwhile: here it is the
    winner that has to show something.
    """
    return (
        comparison is not None
        and comparison.interval[0] > 0.0
        and comparison.difference > WORTHWHILE
    )


def learns(arm: Arm) -> bool:
    """Whether a treated arm does more than guess, where its progress is known."""
    return not arm.failed and (not all(run.known for run in arm.runs) or arm.score > WORTHWHILE)


def as_good(arm: Arm, best: float) -> bool:
    """Whether an arm's score comes about as far as `best`."""
    return arm.score >= best - (1.0 - AS_GOOD) * abs(best)


def enough(arm: Arm, permitted: float) -> bool:
    """Whether an arm learns what the task is known to permit, so that no better one is looked for.

    Args:
        arm: with at least one run.
        permitted: progress of the reference learner, NaN where there is none. Then half of the
            way to zero is asked for.
    """
    bar = AS_GOOD * permitted if permitted >= TELLING_REFERENCE else POOR
    return learns(arm) and all(run.known for run in arm.runs) and arm.score >= bar


def promising(arms: Sequence[Arm]) -> list[Arm]:
    """Order arms: first those about as good as the best, the smallest first; then by score.

    Arms that failed, or whose score cannot be told, come last.
    """
    scores = [arm.score for arm in arms if math.isfinite(arm.score)]
    best = max(scores, default=math.nan)

    def key(arm: Arm) -> tuple[int, tuple[bool, int, bool, int], float]:
        if not math.isfinite(arm.score):
            return (2, (False, 0, False, 0), 0.0)
        if learns(arm) and as_good(arm, best):
            return (0, arm.treatment.size, -arm.score)
        return (1, (False, 0, False, 0), -arm.score)

    return sorted(arms, key=key)


def sign_flip(differences: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the one-sided p of a positive mean under arbitrary signs, exact up to 16 pairs.

    Example:
        >>> sign_flip([1.0, 2.0, 3.0, 4.0, 5.0])
        0.03125
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.size <= _ENUMERATED:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=values.size)))
    else:
        draw = np.random.default_rng(0).integers(0, 2, (2**_ENUMERATED, values.size))
        signs = np.vstack([np.ones(values.size), 2.0 * draw - 1.0])
    sums = signs @ values
    slack = 1e-12 * float(np.abs(values).sum())
    return float((sums >= sums[0] - slack).mean())


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t by bisection of its distribution.

    Example:
        >>> round(student_quantile(0.975, 4), 3)
        2.776
    """
    low, high = 0.0, 1e4
    for _step in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if _student(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _student(t: float, freedom: int) -> float:
    """Return P(T <= t) for t >= 0: the closed form in the angle atan(t / sqrt(freedom)).

    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    cosine = math.cos(angle)
    if freedom % 2:
        total, term = 0.0, cosine
        for k in range(1, freedom - 1, 2):
            total += term
            term *= cosine * cosine * (k + 1) / (k + 2)
        inside = 2.0 / math.pi * (angle + math.sin(angle) * total)
    else:
        total, term = 0.0, 1.0
        for k in range(0, freedom - 1, 2):
            total += term
            term *= cosine * cosine * (k + 1) / (k + 2)
        inside = math.sin(angle) * total
    return 0.5 + 0.5 * inside

"""Choose among predictors by held-out losses without flattering the chosen one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

FOLDS = 4
# By how many standard errors a predictor must beat the constant on the other folds, and how many
# more for few examples, whose standard error is itself a guess. Chosen so that with random labels
# fewer than one in a hundred passes, from 32 examples on.
_MARGIN = 2.0
_MARGIN_FOR_FEW = 30.0  # over the number of examples


@dataclass(frozen=True, slots=True)
class Candidates:
    """Predictors of one kind with their held-out losses, `[C, N]`."""

    kind: str
    losses: Floats


@dataclass(frozen=True, slots=True)
class Chosen:
    """Held-out losses `[N]` of predictors that were chosen on other examples, and their kind."""

    kind: str
    losses: Floats


def cross_fitted(constant: Floats, offers: list[Candidates], folds: Integers) -> Chosen:
    """Return each example's loss under the predictor that is best on the other folds.

    Args:
        constant: losses of the best constant prediction, `[N]`.
        offers: the predictors.
        folds: of the examples, `[N]`.
    """
    losses = constant.copy()
    votes: dict[str, int] = {}
    for fold in np.unique(folds):
        inside = folds == fold
        kind, best = "constant", constant
        least = float(constant[~inside].mean())
        margin = _MARGIN + _MARGIN_FOR_FEW / max(int((~inside).sum()), 1)
        for offer in offers:
            means = offer.losses[:, ~inside].mean(axis=1)
            winner = int(means.argmin())
            gains = (constant - offer.losses[winner])[~inside]
            error = float(gains.std()) / math.sqrt(gains.size)
            if means[winner] < least and float(gains.mean()) > margin * error:
                kind, best, least = offer.kind, offer.losses[winner], float(means[winner])
        losses[inside] = best[inside]
        votes[kind] = votes.get(kind, 0) + int(inside.sum())
    return Chosen(max(votes, key=lambda each: votes[each]), losses)

"""A cheap reference learner: what progress does this task permit?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .calibration import binary_losses, sigmoid_losses, softmax_losses, squared_losses
from .features import distinct, projected, standardized, token_features
from .kernel_ridge import Smoother, arc_cosine_smoother, linear_smoother
from .ngram import contexts, first_seen, ngram_losses
from .selection import FOLDS, Candidates, cross_fitted

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

Family = Literal["classification", "regression", "binary", "language"]

FEWEST_EXAMPLES = 30  # below, held-out losses say next to nothing
MOST_EXAMPLES = 1024  # the eigenvectors of a kernel of this size take 0.2 s
_TOKEN_TYPES = (np.dtype(np.int64), np.dtype(np.int32))  # what torch's embeddings take
_MOST_TOKENS = 65_536
_MOST_OUTPUTS = 512  # columns of a wide target that are looked at
_LINEAR_WIDTH = 256
_DEPTH = 3  # hidden layers of the kernel's network; 1 to 5 differ by less than 0.02 on digits
_ORDERS = (1, 2, 3)  # of the n-gram contexts
_SPAN = 16  # tokens that tell one place of a text from another
_LONG = 2 * _SPAN  # sequences from which the first `_SPAN` positions can be spared


@dataclass(frozen=True, slots=True)
class Reference:
    """What a cheap learner reaches on held-out examples.

    Attributes:
        u: ``1 - loss / loss of the best constant``, 0 to 1; NaN where it cannot be told.
        error: standard error of `u`, NaN where `u` is.
        kind: ``"constant"``, ``"linear"``, ``"kernel"``, ``"ngram"``, or ``"none"`` for NaN.
    """

    u: float
    error: float
    kind: str


UNKNOWN = Reference(math.nan, math.nan, "none")


def reference(inputs: ArrayLike, targets: ArrayLike, *, family: Family) -> Reference:
    """Return the progress that a cheap learner makes on a task, on held-out examples.

    The best of a constant, a linear ridge and a ridge with the kernel of an infinitely wide ReLU
    network, or of n-gram models for language. Losses are of the family that the network trains
    on, each example's under a predictor that was fitted without it (leave-one-out in closed form)
    and chosen and calibrated on other folds.

    **A lower bound, and only that.** A network whose progress is below half of `u` makes poor
    progress: something this cheap does better. A network at or above it is not accused on
    progress grounds alone. A `u` of 0 or NaN says nothing about what a network could reach.

    Examples that occur twice count once; rows with NaN or infinities and negative labels (torch's
    ``ignore_index``) are dropped.

    Args:
        inputs: the network's inputs, `[N, ...]`, flattened here. Integers of 32 or 64 bits are
            tokens.
        targets: class labels `[N]` or class probabilities `[N, K]` for ``"classification"``;
            `[N]` or `[N, ...]` numbers for ``"regression"``, in 0..1 for ``"binary"``; the
            tokens to predict, `[N, T]` like the inputs or flattened, for ``"language"``.
        family: which loss: cross entropy, squared error, binary cross entropy, or cross entropy
            per token.

    Returns:
        `u` against the best constant prediction; NaN with fewer than 30 distinct examples, one
        class only, or constant targets.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> x = generator.standard_normal((300, 3))
        >>> y = x[:, 0] + generator.standard_normal(300)
        >>> found = reference(x, y, family="regression")
        >>> found.kind, round(found.u, 1)
        ('linear', 0.5)

    References:
        Cho & Saul 2009, Kernel Methods for Deep Learning
    """
    fed, wanted = np.asarray(inputs), np.asarray(targets)
    if fed.ndim == 0 or wanted.size == 0 or len(fed) == 0:
        return UNKNOWN
    is_tokens = fed.dtype in _TOKEN_TYPES
    if family == "language":
        if is_tokens and fed.size == wanted.size and fed.size > len(fed):
            return sequence_reference(fed.reshape(len(fed), -1), wanted)
        if fed.shape[: wanted.ndim] == wanted.shape:  # a vector a position
            fed = fed.reshape(wanted.size, -1)
        wanted, family = wanted.ravel(), "classification"
    if len(fed) != len(wanted):
        return UNKNOWN
    rows, goals = _clean(fed.reshape(len(fed), -1), wanted, family)
    if len(rows) < FEWEST_EXAMPLES or goals.shape[1] == 0:
        return UNKNOWN
    features = token_features(rows) if is_tokens else standardized(rows.astype(np.float64))
    return _ridge_reference(features, goals, family)


def sequence_reference(tokens: ArrayLike, targets: ArrayLike) -> Reference:
    """Return the progress of n-gram models on a language task, on held-out sequences.

    A target is predicted from the current token and the one or two before it, with absolute
    discounting, against the entropy of the targets. Windows that overlap count once.

    Args:
        tokens: `[N, T]`.
        targets: the token to predict at each position, `[N, T]` or flattened; negative ones are
            not predicted.

    Example:
        >>> text = np.tile(np.arange(7), 400)[None]
        >>> sequence_reference(text[:, :-1], text[:, 1:]).kind
        'none'
    """
    fed: Integers = np.asarray(tokens).astype(np.int64)
    wanted: Integers = np.asarray(targets).astype(np.int64).reshape(fed.shape)
    length = min(fed.shape[1], _MOST_TOKENS)
    rows = np.sort(np.random.default_rng(0).permutation(len(fed))[: _MOST_TOKENS // length])
    fed, wanted = fed[rows, :length], wanted[rows, :length]
    fed = np.unique(fed, return_inverse=True)[1].reshape(fed.shape).astype(np.int64)
    if fed.shape[1] >= _LONG:
        used = first_seen(fed, _SPAN)
    else:
        used = np.zeros(fed.shape, dtype=bool)
        used[distinct(fed)] = True
    used &= wanted >= 0
    if int(used.sum()) < FEWEST_EXAMPLES:
        return UNKNOWN
    sequence = np.broadcast_to(np.arange(len(fed))[:, None], fed.shape)[used]
    goals = np.unique(wanted[used], return_inverse=True)[1].astype(np.int64)
    if goals.max() == 0:
        return UNKNOWN
    folds = _sequence_folds(sequence)
    histories = [contexts(fed, order)[used] for order in _ORDERS]
    losses = ngram_losses(histories, goals, folds)
    frequency = np.bincount(goals) / goals.size
    return _judged(-np.log(frequency)[goals], [Candidates("ngram", losses)], folds)


def _sequence_folds(rows: Integers) -> Integers:
    """Return folds of whole sequences, or of stretches where there are too few sequences."""
    sequences, numbered = np.unique(rows, return_inverse=True)
    if sequences.size >= 2 * FOLDS:
        return (numbered % FOLDS).astype(np.int64)
    return (np.arange(rows.size) * FOLDS // rows.size).astype(np.int64)


def _clean(inputs: Numbers, targets: Numbers, family: Family) -> tuple[Numbers, Floats]:
    """Return usable examples, each once, and their targets as columns that vary."""
    goals = targets.reshape(len(targets), -1).astype(np.float64)
    usable = np.isfinite(inputs).all(axis=1) & np.isfinite(goals).all(axis=1)
    labeled = family == "classification" and goals.shape[1] == 1
    if labeled:
        usable &= goals[:, 0] >= 0.0
    kept = np.random.default_rng(0).permutation(np.flatnonzero(usable))[: 2 * MOST_EXAMPLES]
    kept = kept[distinct(inputs[kept])][:MOST_EXAMPLES]
    inputs, goals = inputs[kept], goals[kept]
    if kept.size == 0:
        return inputs, goals[:, :0]
    if labeled:
        classes, labels = np.unique(goals[:, 0], return_inverse=True)
        goals = np.eye(classes.size)[labels]
    elif goals.shape[1] > _MOST_OUTPUTS:
        columns = np.random.default_rng(0).permutation(goals.shape[1])[:_MOST_OUTPUTS]
        goals = goals[:, columns]
    goals = goals[:, goals.max(axis=0) > goals.min(axis=0)]
    return inputs, goals


def _ridge_reference(features: Floats, goals: Floats, family: Family) -> Reference:
    """Judge the linear and the kernel ridge on standardized features, `[N, D]`, `[N, K]`."""
    mean = goals.mean(axis=0)
    match family:
        case "classification":
            losses_of = softmax_losses
            constant = -(goals * np.log(mean)).sum(axis=1)
        case "binary":
            losses_of = sigmoid_losses
            constant = binary_losses(goals, np.broadcast_to(mean, goals.shape))
        case _:
            losses_of = squared_losses
            constant = ((goals - mean) ** 2).sum(axis=1)
    offers = []
    if features.shape[1] > 0:
        linear = linear_smoother(projected(features, min(_LINEAR_WIDTH, len(features) // 2)))
        kernel: Smoother = arc_cosine_smoother(features, _DEPTH)
        offers = [
            Candidates("linear", losses_of(linear, goals)),
            Candidates("kernel", losses_of(kernel, goals)),
        ]
    folds = (np.random.default_rng(0).permutation(len(goals)) % FOLDS).astype(np.int64)
    return _judged(constant, offers, folds)


def _judged(constant: Floats, offers: list[Candidates], folds: Integers) -> Reference:
    """Hold the chosen predictors against the constant."""
    chosen = cross_fitted(constant, offers, folds)
    base = float(constant.mean())
    u = 1.0 - float(chosen.losses.mean()) / base
    spread = float((chosen.losses - (1.0 - u) * constant).std())
    error = spread / (math.sqrt(len(constant)) * base)
    if u <= 0.0:
        return Reference(0.0, error, "constant")
    return Reference(u, error, chosen.kind)

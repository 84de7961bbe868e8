"""Turn the outputs of a least-squares fit into losses of the family that the network trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .kernel_ridge import PENALTIES, Smoother

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_NOISE = (0.003, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65)  # shares of labels that may be arbitrary
_NEIGHBORS = (-1, 0, 1)  # penalties tried around the one of least squared error
_MANY_OUTPUTS = 100  # beyond, coarser grids are enough to wait for
_SKETCH = 32  # columns to which wide targets are projected to choose a penalty
_RAREST = 0.02  # p (1 - p) of rare labels is not taken for smaller, or its inverse explodes


def squared_losses(smoother: Smoother, targets: Floats) -> Floats:
    """Return held-out squared errors summed over the outputs, `[C, N]`: of each penalty.

    Args:
        smoother: of the inputs.
        targets: `[N, K]`.
    """
    return _squared_errors(smoother, targets, _penalties(smoother, targets))


def _squared_errors(smoother: Smoother, targets: Floats, penalties: Sequence[float]) -> Floats:
    predictions = smoother.leave_one_out(targets, penalties)
    return np.stack([((each - targets) ** 2).sum(axis=1) for each in predictions])


def _sharpness(least: float, most: float, outputs: int) -> list[float]:
    steps = 7 if outputs > _MANY_OUTPUTS else 13
    return [float(each) for each in np.geomspace(least, most, steps)]


def _penalties(smoother: Smoother, targets: Floats) -> list[float]:
    """Return the penalties about the one of least held-out squared error."""
    sketched = targets
    if targets.shape[1] > _SKETCH:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (targets.shape[1], _SKETCH))
        sketched = targets @ signs
    best = int(_squared_errors(smoother, sketched, PENALTIES).mean(axis=1).argmin())
    around = (0,) if targets.shape[1] > _MANY_OUTPUTS else _NEIGHBORS
    return [PENALTIES[best + step] for step in around if 0 <= best + step < len(PENALTIES)]


def softmax_losses(smoother: Smoother, targets: Floats) -> Floats:
    """Return held-out cross entropies, `[C, N]`: of each penalty, sharpness and label noise.

    ``p = (1 - e) softmax(log prior + a (f - prior)) + e prior`` with f the leave-one-out output.

    Args:
        smoother: of the inputs.
        targets: rows of class probabilities, one-hot for hard labels, `[N, K]`.
    """
    prior = targets.mean(axis=0)
    hard = bool(((targets == 0.0) | (targets == 1.0)).all())
    rows, labels = np.arange(len(targets)), targets.argmax(axis=1)
    steepest = 128.0 * max(1.0, targets.shape[1] / 10.0)
    losses = []
    for outputs in smoother.leave_one_out(targets, _penalties(smoother, targets)):
        score = outputs - prior
        for sharpness in _sharpness(0.5, steepest, targets.shape[1]):
            logits = np.log(prior) + sharpness * score
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            total = odds.sum(axis=1)
            if hard:
                likely, base = odds[rows, labels] / total, prior[labels]
                losses += [-np.log((1.0 - e) * likely + e * base) for e in _NOISE]
            else:
                chances = odds / total[:, None]
                losses += [
                    -(targets * np.log((1.0 - e) * chances + e * prior)).sum(axis=1) for e in _NOISE
                ]
    return np.stack(losses)


def sigmoid_losses(smoother: Smoother, targets: Floats) -> Floats:
    """Return held-out binary cross entropies summed over the labels, `[C, N]`.

    ``p = (1 - e) sigmoid(logit prior + a (f - prior) / (prior (1 - prior))) + e prior``.

    Args:
        smoother: of the inputs.
        targets: probabilities of K labels, `[N, K]`, none of them constant.
    """
    prior = targets.mean(axis=0)
    spread = np.maximum(prior * (1.0 - prior), _RAREST)
    losses = []
    for outputs in smoother.leave_one_out(targets, _penalties(smoother, targets)):
        score = (outputs - prior) / spread
        for sharpness in _sharpness(0.25, 32.0, targets.shape[1]):
            logits = np.log(prior / (1.0 - prior)) + sharpness * score
            chances = 0.5 * (1.0 + np.tanh(0.5 * logits))
            losses += [binary_losses(targets, (1.0 - e) * chances + e * prior) for e in _NOISE]
    return np.stack(losses)


def binary_losses(targets: Floats, chances: Floats) -> Floats:
    """Return the binary cross entropy of each example, summed over its labels, `[N]`."""
    each = targets * np.log(chances) + (1.0 - targets) * np.log1p(-chances)
    return np.asarray(-each.sum(axis=1))

"""Kernel ridge regression with its leave-one-out predictions in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# multiples of the kernel's mean eigenvalue, from interpolation to the mean
PENALTIES = tuple(np.geomspace(1e-3, 1e4, 15))
_BIAS_VARIANCE = 0.1  # of the network's first layer; lets the kernel see where the origin is
_SMALLEST_LEFT = 1e-12  # of 1 - H_ii, which is 1e-9 at least for the penalties tried


@dataclass(frozen=True, slots=True)
class Smoother:
    """The ridge regressions of one kernel, for every penalty: ``H = 1/N + V s/(s + penalty) V^T``.

    Attributes:
        vectors: eigenvectors V of the centered kernel, `[N, R]`.
        values: its eigenvalues s, `[R]`.
        groups: of the examples, `[N]`: what is predicted for one is then learned from other
            groups alone. None where every example stands for itself.
    """

    vectors: Floats
    values: Floats
    groups: Integers | None = None

    def leave_one_out(self, targets: Floats, penalties: Sequence[float]) -> Iterator[Floats]:
        """Yield for each penalty what ridge regression without example i predicts for it, `[N, K]`.

        ``f_-i = y_i - r_i / (1 - H_ii)`` with the residual r, exact for a ridge whose intercept
        is free. Residual and leverage are summed from what the penalty takes away, so that
        nothing cancels where the fit interpolates: there rounding would hand the target back.

        Without a whole group g, ``f_-g = y_g - (I - H_gg)^-1 r_g``.

        Args:
            targets: Y, `[N, K]`.
            penalties: as multiples of the mean eigenvalue.

        References:
            Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, 7.10
        """
        count = len(targets)
        mean_value = max(float(self.values.sum()) / count, 1e-300)
        rotated, squares = self.vectors.T @ targets, self.vectors**2
        # what no eigenvector reaches stays in the residual whole
        beyond = targets - targets.mean(axis=0) - self.vectors @ rotated
        free = np.maximum(1.0 - 1.0 / count - squares.sum(axis=1), 0.0)
        for penalty in penalties:
            taken = penalty * mean_value / (self.values + penalty * mean_value)
            residual = beyond + self.vectors @ (taken[:, None] * rotated)
            if self.groups is not None:
                yield targets - self._without_groups(self.groups, taken, residual)
                continue
            left = np.maximum(free + squares @ taken, _SMALLEST_LEFT)[:, None]
            yield targets - residual / left

    def _without_groups(self, groups: Integers, taken: Floats, residual: Floats) -> Floats:
        """Return ``(I - H_gg)^-1 r_g`` for the rows of every group."""
        order = np.argsort(groups, kind="stable")
        sizes = np.unique(groups, return_counts=True)[1]
        starts = np.cumsum(sizes) - sizes
        error = np.empty_like(residual)
        for size in np.unique(sizes).tolist():
            rows = order[starts[sizes == size][:, None] + np.arange(size)]  # [G, size]
            vectors = self.vectors[rows]
            free = (1.0 + _SMALLEST_LEFT) * np.eye(size) - 1.0 / len(residual)
            kept = np.einsum("gar,r,gbr->gab", vectors, 1.0 - taken, vectors, optimize=True)
            error[rows] = np.linalg.solve(free - kept, residual[rows])
        return error


def linear_smoother(features: Floats) -> Smoother:
    """Return the smoother of the linear kernel of `features`, `[N, D]`, D at most N."""
    centered = features - features.mean(axis=0)
    values, directions = np.linalg.eigh(centered.T @ centered)
    used = values > 1e-10 * max(float(values[-1]), 1e-300)
    vectors = centered @ directions[:, used] / np.sqrt(values[used])
    return Smoother(vectors, values[used])


def arc_cosine_kernel(features: Floats, depth: int) -> Floats:
    """Return the kernel of an infinitely wide ReLU network of `depth` hidden layers, `[N, N]`.

    ``K_{l+1} = sqrt(K_ii K_jj) (sin t + (pi - t) cos t) / pi`` with t the angle in K_l: the
    arc-cosine kernel of order 1, under He initialisation.

    References:
        Cho & Saul 2009, Kernel Methods for Deep Learning
    """
    kernel = features @ features.T / features.shape[1] + _BIAS_VARIANCE
    lengths = np.sqrt(np.diagonal(kernel))
    products = np.outer(lengths, lengths)
    cosine = np.clip(kernel / products, -1.0, 1.0)
    for _ in range(depth):
        angle = np.arccos(cosine)
        cosine = (np.sin(angle) + (math.pi - angle) * cosine) / math.pi
    return np.asarray(products * cosine)


def arc_cosine_smoother(features: Floats, depth: int) -> Smoother:
    """Return the smoother of `arc_cosine_kernel`."""
    kernel = arc_cosine_kernel(features, depth)
    rows = kernel.mean(axis=0)
    values, vectors = np.linalg.eigh(kernel - rows - rows[:, None] + rows.mean())
    # centering leaves the constant a value of the size of the kernel's own rounding
    rounding = len(kernel) * np.finfo(np.float64).eps * float(np.trace(kernel))
    used = values > max(1e-10 * float(values[-1]), rounding, 1e-300)
    return Smoother(vectors[:, used], values[used])

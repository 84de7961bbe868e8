"""Attention: how much gradient a softmax lets through."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .activations import Floats


def softmax_jacobian_norm(probabilities: ArrayLike) -> Floats:
    """Return the Frobenius norm of the softmax's Jacobian ``diag(p) - p p^T``, `[...]`.

    ``sqrt(sum p^2 - 2 sum p^3 + (sum p^2)^2)``: 0 for a one-hot row, which has no gradient.

    Args:
        probabilities: rows of attention, `[..., T]`, each summing to 1.

    Example:
        >>> float(softmax_jacobian_norm([0.5, 0.5]))
        0.5
    """
    p = np.asarray(probabilities, dtype=np.float64)
    squares = (p**2).sum(axis=-1)
    inside = squares - 2.0 * (p**3).sum(axis=-1) + squares**2
    return np.asarray(np.sqrt(np.maximum(inside, 0.0)))


def uniform_jacobian_norm(tokens: int) -> float:
    """Return `softmax_jacobian_norm` of uniform attention over T tokens: ``sqrt((1 - 1/T) / T)``.

    Example:
        >>> round(uniform_jacobian_norm(16), 4)
        0.2421
    """
    return math.sqrt((1.0 - 1.0 / tokens) / tokens)

"""The edge of chaos: the initialisation at which gradients neither vanish nor explode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .activations import Activation
from .moments import moments

_GRID = np.geomspace(1e-4, 1e5, 181)  # variances among which a critical point is looked for
_SCALE_FREE = 1e-9  # |q - E phi^2 / E phi'^2| / q below this everywhere: every q is critical


@dataclass(frozen=True, slots=True)
class EdgePoint:
    """A critical initialisation: chi = 1 at a fixed point of the length map.

    Attributes:
        weight_variance: sigma_w^2.
        bias_variance: sigma_b^2.
        q: the fixed point; NaN where every q is one, as for ReLU.
        slope: of the length map at q.
        stable: whether signals stay near q. GELU, SiLU and Mish have critical points that repel:
            the variance drifts to 0 or to infinity, and chi with it.
    """

    weight_variance: float
    bias_variance: float
    q: float
    slope: float
    stable: bool


def edge_of_chaos(name: str | Activation, *, bias_variance: float = 0.0) -> EdgePoint | None:
    """Return the critical initialisation at a bias variance, None where there is none.

    Solves ``sigma_w^2 E phi'(sqrt(q) z)^2 = 1`` together with
    ``q = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2``; of several solutions the smallest q.

    Example:
        >>> point = edge_of_chaos("tanh", bias_variance=0.05)
        >>> round(point.weight_variance, 3), point.stable
        (1.761, True)
        >>> edge_of_chaos("softplus") is None
        True

    References:
        Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232
        Hayou et al. 2019, https://arxiv.org/abs/1902.06853
    """

    def excess(q: float) -> float:
        at = moments(name, q)
        return 1.0 - (at.square / at.slope_square + bias_variance) / q

    values = np.array([excess(q) for q in _GRID])
    if np.all(np.abs(values) < _SCALE_FREE):
        return EdgePoint(1.0 / moments(name).slope_square, bias_variance, math.nan, 1.0, True)
    if bias_variance == 0.0:
        at_zero = _at_zero(name)
        if at_zero is not None:
            return at_zero
    crossings = np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0.0)
    if crossings.size == 0:
        return None
    low, high = (math.log(_GRID[crossings[0] + side]) for side in (0, 1))
    sign = values[crossings[0]]
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(math.exp(middle)) * sign > 0.0 else (low, middle)
    q = math.exp(0.5 * (low + high))
    at = moments(name, q)
    slope = (at.slope_square + at.curvature) / at.slope_square
    return EdgePoint(1.0 / at.slope_square, bias_variance, q, slope, slope < 1.0)


def _at_zero(name: str | Activation) -> EdgePoint | None:
    """Return the critical point at q = 0, if phi(0) = 0 and small signals stay small."""
    limit = moments(name, 0.0)
    if limit.mean**2 > 1e-20 or limit.slope_square == 0.0:
        return None
    q = 1e-3  # small, yet large enough for the first correction to show above rounding
    if moments(name, q).square / limit.slope_square > q:
        return None
    return EdgePoint(1.0 / limit.slope_square, 0.0, 0.0, 1.0, True)

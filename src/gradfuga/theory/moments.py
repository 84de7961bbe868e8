"""Gaussian moments of activations: how a wide layer changes signal length or gradient length.

Everywhere ``u = sqrt(q) z`` with ``z ~ N(0, 1)``: the pre-activation of a wide layer, of variance
``q``. Expectations are composite Gauss-Legendre sums split at the kinks, good to about 1e-12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from .activations import Activation, Floats, activation, knows, leaky_relu

_REACH = 13.0  # standard deviations; the normal weight beyond is 1e-38
_NODES = 20  # per panel
_TINY_VARIANCE = 1e-280  # stands for the limit q -> 0, where a kink at 0 still has two sides


@dataclass(frozen=True, slots=True)
class Moments:
    """Gaussian moments of one activation at variance `q`, all dimensionless.

    Attributes:
        q: variance of the pre-activation u.
        mean: E phi(u).
        square: E phi(u)^2.
        slope_square: E phi'(u)^2.
        slope_fourth: E phi'(u)^4.
        curvature: E phi(u) phi''(u), kinks of phi counted as the jumps of slope that they are.
    """

    q: float
    mean: float
    square: float
    slope_square: float
    slope_fourth: float
    curvature: float

    @property
    def variance(self) -> float:
        """Var phi(u)."""
        return self.square - self.mean**2

    @property
    def slope_rms(self) -> float:
        """The gain of the gradient's norm across the activation: rms phi'(u)."""
        return math.sqrt(self.slope_square)


@cache
def _legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def quadrature(phi: Activation, q: float) -> tuple[Floats, Floats]:
    """Return nodes z `[P]` and weights `[P]` so that ``sum(w * f(z)) = E f(z)``, z ~ N(0, 1).

    Panels end at every kink of phi(sqrt(q) z), and are short where phi or the density bends.
    """
    scale = math.sqrt(max(q, _TINY_VARIANCE))
    bends = np.concatenate([np.arange(-16.0, 16.5, 1.0), [-64.0, -32.0, 32.0, 64.0], phi.kinks])
    edges = np.concatenate([bends / scale, np.arange(-_REACH, _REACH + 0.5)])
    edges = np.unique(np.clip(edges, -_REACH, _REACH))
    half = 0.5 * np.diff(edges)[:, None]
    nodes, weights = _legendre()
    z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return z, (half * weights).ravel() * density


@lru_cache(maxsize=4096)
def _moments(phi: Activation, q: float) -> Moments:
    z, weight = quadrature(phi, q)
    scale = math.sqrt(max(q, _TINY_VARIANCE))
    value, slope = phi.value(scale * z), phi.slope(scale * z)
    slope_square = float(weight @ slope**2)
    # Stein: E[z phi phi'] = sqrt(q) E[phi'^2 + phi phi''], which needs no second derivative
    stein = float(weight @ (z * value * slope)) / scale
    return Moments(
        q=q,
        mean=float(weight @ value),
        square=float(weight @ value**2),
        slope_square=slope_square,
        slope_fourth=float(weight @ slope**4),
        curvature=stein - slope_square,
    )


def moments(name: str | Activation, q: float = 1.0) -> Moments:
    """Return the Gaussian moments of an activation at pre-activation variance `q`.

    ``E f(phi(sqrt(q) z))`` for z ~ N(0, 1). ``q = 0`` gives the limit from above.

    Example:
        >>> at_one = moments("tanh")
        >>> round(at_one.square, 4), round(at_one.slope_square, 4)
        (0.3943, 0.4644)

    References:
        Poole et al. 2016, https://arxiv.org/abs/1606.05340
    """
    return _moments(activation(name), float(q))


def forward_gain(name: str | Activation) -> float:
    """Return ``g_f = 1 / sqrt(E phi(z)^2)``: the weight scale that keeps signals of variance 1.

    Example:
        >>> round(forward_gain("gelu"), 4)
        1.5335
    """
    return 1.0 / math.sqrt(moments(name).square)


def backward_gain(name: str | Activation) -> float:
    """Return ``g_b = 1 / sqrt(E phi'(z)^2)``: the weight scale that keeps the gradient's norm.

    Where g_b differs from g_f no single scale keeps both; an initialisation that keeps the
    forward variance multiplies the squared gradient by ``(g_f / g_b)^2`` per layer.

    Example:
        >>> round(backward_gain("sigmoid"), 4), round(forward_gain("sigmoid"), 4)
        (4.7226, 1.8462)
    """
    return 1.0 / moments(name).slope_rms


def operating_slope(name: str | Activation) -> float:
    """Return ``sqrt(E phi'(z)^2)`` at unit variance: the slope where a standard net works.

    Example:
        >>> round(operating_slope("relu"), 4), round(operating_slope("sigmoid"), 4)
        (0.7071, 0.2117)
    """
    return moments(name).slope_rms


# Activations whose critical weight scale is a matter of course: half of them is off, or nearly.
# The account books the matching gain with the initialisation, not with the activation, because
# critical init repairs it fully. The values are those that the judging rule was measured with.
_REFERENCE_GAINS = {
    "relu": math.sqrt(2.0),
    "relu6": math.sqrt(2.0),
    "gelu": 1.481,
    "gelu_tanh": 1.481,
    "silu": 1.623,
    "softplus": 1.5,
}
_REFERENCE_BY_SLOPE = frozenset({"mish", "hardswish"})  # of the same family: their own g_b


def reference_gain(name: str, *, negative_slope: float = 0.01) -> float:
    """Return the weight scale ``|W|_F / sqrt(n_out)`` that counts as sound before `name`.

    sqrt(2) for ReLU, sqrt(2 / (1 + a^2)) for a leaky one, 1 for what has none of its own, and
    for unknown names.

    Args:
        name: of the activation that follows the layer.
        negative_slope: the slope a of a leaky ReLU.

    Example:
        >>> round(reference_gain("relu"), 3), reference_gain("sigmoid")
        (1.414, 1.0)

    References:
        He et al. 2015, https://arxiv.org/abs/1502.01852
    """
    if not knows(name):
        return 1.0
    canonical = activation(name).name
    if canonical == "leaky_relu":
        return backward_gain(leaky_relu(negative_slope))
    if canonical in _REFERENCE_BY_SLOPE:
        return backward_gain(canonical)
    return _REFERENCE_GAINS.get(canonical, 1.0)

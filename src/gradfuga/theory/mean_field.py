"""Mean-field signal propagation: what a wide random network does to signals or gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .activations import Activation, Floats, activation
from .moments import moments, quadrature

_SMALLEST, _LARGEST = 1e-12, 1e12  # variances beyond these count as 0 and as infinity
_HERMITE_ORDER = 256


@dataclass(frozen=True, slots=True)
class Init:
    """A random layer: ``Var W = weight_variance / fan_in``, ``Var b = bias_variance``.

    Also written sigma_w^2 and sigma_b^2.
    """

    weight_variance: float
    bias_variance: float = 0.0


def torch_default(fan_in: int) -> Init:
    """Return what `torch.nn.Linear` and the convolutions start with.

    Weights and biases are uniform in ``+-1/sqrt(fan_in)``, so that ``sigma_w^2 = 1/3`` and
    ``sigma_b^2 = 1 / (3 fan_in)``. That is critical for no activation.

    Example:
        >>> round(torch_default(256).weight_variance, 4)
        0.3333
    """
    return Init(1.0 / 3.0, 1.0 / (3.0 * fan_in))


def length_map(name: str | Activation, init: Init, q: float) -> float:
    """Return the pre-activation variance one layer on.

    ``sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2`` for z ~ N(0, 1).

    Example:
        >>> length_map("relu", Init(2.0), 0.7)
        0.7
    """
    return init.weight_variance * moments(name, q).square + init.bias_variance


def chi(name: str | Activation, init: Init, q: float) -> float:
    """Return ``chi = sigma_w^2 E phi'(sqrt(q) z)^2``: the gain of the squared gradient per layer.

    Example:
        >>> round(chi("sigmoid", torch_default(256), 0.0), 5)
        0.02083

    References:
        Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232
    """
    return init.weight_variance * moments(name, q).slope_square


def fixed_point(name: str | Activation, init: Init, *, start: float = 1.0) -> float:
    """Return the variance q* to which the length map leads from `start`: 0 and inf included.

    The length map of a monotone activation grows with q, so the sequence is monotone: it ends at
    the first fixed point on its way.

    Example:
        >>> round(fixed_point("tanh", Init(1.761, 0.05)), 2)
        0.57
    """

    def drift(q: float) -> float:
        return length_map(name, init, q) / q - 1.0

    rate = drift(start)
    if abs(rate) < 1e-12:
        return start
    factor = 1.1 if rate > 0.0 else 1.0 / 1.1
    near = start
    while _SMALLEST < near < _LARGEST:
        far = near * factor
        if drift(far) * rate <= 0.0:
            return _root(drift, near, far)
        near = far
    return math.inf if rate > 0.0 else 0.0


def _root(function: Callable[[float], float], one: float, other: float) -> float:
    """Return the root of `function` between two points of different sign, by bisection in log."""
    sign = function(one)
    low, high = math.log(one), math.log(other)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if function(math.exp(middle)) * sign > 0.0:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


@dataclass(frozen=True, slots=True)
class DepthScales:
    """How many layers a quantity survives, each in layers; inf where it neither decays nor grows.

    Attributes:
        q: fixed point of the length map.
        chi: gain of the squared gradient per layer at q.
        gradient: ``-1 / ln chi``; negative where the gradient grows.
        correlation: of the correlation between two inputs.
        length: of the difference of the variance from q.
    """

    q: float
    chi: float
    gradient: float
    correlation: float
    length: float


def _scale(rate: float) -> float:
    if rate <= 0.0:
        return 0.0
    return math.inf if abs(rate - 1.0) < 1e-12 else -1.0 / math.log(rate)


def depth_scales(name: str | Activation, init: Init, *, start: float = 1.0) -> DepthScales:
    """Return the depth scales of a wide random network.

    ``xi_grad = -1/ln chi``, ``xi_q = -1/ln(chi + sigma_w^2 E phi phi'')`` and
    ``xi_c = -1/ln(sigma_w^2 E phi'(u1) phi'(u2))`` at the fixed correlation c*. Networks deeper
    than about 6 xi_c do not train; there the gradient's norm has fallen by e^-3, 1.30 decades.

    Example:
        >>> round(depth_scales("tanh", torch_default(256)).gradient, 3)
        0.907

    References:
        Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232
    """
    q = fixed_point(name, init, start=start)
    at = min(q, _LARGEST)
    moment = moments(name, at)
    rate = init.weight_variance * moment.slope_square
    return DepthScales(
        q=q,
        chi=rate,
        gradient=_scale(rate),
        correlation=_scale(_correlation_rate(activation(name), init, at, rate)),
        length=_scale(rate + init.weight_variance * moment.curvature),
    )


def _correlation_rate(phi: Activation, init: Init, q: float, rate: float) -> float:
    """Return the slope of the correlation map at its stable fixed point."""
    if rate <= 1.0 + 1e-12 or q <= 0.0:
        return rate  # ordered phase: c* = 1, where the slope is chi
    value, slope = _hermite_powers(phi, q)
    total = float(value.sum())
    orders = np.arange(value.size)

    def excess(c: float) -> float:
        mapped = init.weight_variance * float(value @ c**orders) + init.bias_variance
        return mapped / (init.weight_variance * total + init.bias_variance) - c

    low, high = 0.0, 1.0 - 1e-9
    if excess(low) <= 0.0:
        c = 0.0
    else:
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
        c = low
    return init.weight_variance * float(slope @ c**orders)


def _hermite_powers(phi: Activation, q: float) -> tuple[Floats, Floats]:
    """Return the squared Hermite coefficients of phi and phi', `[K]` each.

    ``E f(u1) f(u2) = sum_k a_k^2 c^k`` for correlation c; the last entry holds the rest.
    """
    z, weight = quadrature(phi, q)
    value, slope = phi.value(math.sqrt(q) * z), phi.slope(math.sqrt(q) * z)
    before, here = np.zeros_like(z), np.ones_like(z)
    rows = []
    for k in range(_HERMITE_ORDER):
        rows.append((float(weight @ (value * here)), float(weight @ (slope * here))))
        after = (z * here - math.sqrt(k) * before) / math.sqrt(k + 1.0)
        before, here = here, after
    powers = np.asarray(rows).T ** 2
    wholes = np.array([weight @ value**2, weight @ slope**2])
    powers[:, -1] += np.maximum(wholes - powers.sum(axis=1), 0.0)
    return powers[0], powers[1]


def predicted_reach(
    name: str | Activation,
    inits: Init | Sequence[Init],
    depth: int,
    *,
    input_square: float = 1.0,
) -> Floats:
    """Return the reach of every layer before training, in decades, `[depth]`, input side first.

    With ``q_1 = sigma_w^2 <x^2> + sigma_b^2`` and the length map from there,
    ``D_l = sum_{k=l}^{L-1} 1/2 log10(sigma_{w,k+1}^2 E phi'(sqrt(q_k) z)^2)``, so that D_L = 0.
    The recursion from the measured input is what matches measurements to 1 %; the asymptotic
    chi is not.

    Args:
        name: the activation after every layer but the last.
        inits: of all layers, or one for each of the `depth` layers.
        depth: number of weight layers L.
        input_square: mean of the squared network inputs.

    Example:
        >>> reach = predicted_reach("sigmoid", torch_default(256), 50)
        >>> round(float(reach[0]), 2), float(reach[-1])
        (-41.65, 0.0)

    References:
        Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232
    """
    layers = [inits] * depth if isinstance(inits, Init) else list(inits)
    log_gains = np.zeros(depth)
    q = layers[0].weight_variance * input_square + layers[0].bias_variance
    for index in range(depth - 1):
        log_gains[index] = 0.5 * math.log10(chi(name, layers[index + 1], q))
        q = length_map(name, layers[index + 1], q)
    return np.cumsum(log_gains[::-1])[::-1]

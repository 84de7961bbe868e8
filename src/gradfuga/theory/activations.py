"""The catalogue of activations: value, slope, kinks and steepest slope of each, by name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .._errors import UsageError

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

SELU_ALPHA = 1.6732632423543772  # Klambauer et al. 2017, the values torch uses
SELU_SCALE = 1.0507009873554805
_SQRT_2 = math.sqrt(2.0)
_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715  # Hendrycks & Gimpel 2016, the tanh approximation


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise nonlinearity phi.

    Attributes:
        name: canonical name, such as ``"leaky_relu"``.
        value: phi, any shape to the same shape.
        slope: phi', where phi has a kink the slope on its right side.
        kinks: where phi or a derivative of it jumps; quadrature splits there.
        steepest: sup |phi'|.

    Example:
        >>> sigmoid = activation("sigmoid")
        >>> sigmoid.steepest, float(sigmoid.slope(np.zeros(1))[0])
        (0.25, 0.25)
    """

    name: str
    value: Callable[[Floats], Floats] = field(repr=False)
    slope: Callable[[Floats], Floats] = field(repr=False)
    kinks: tuple[float, ...]
    steepest: float


def _logistic(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _logistic_slope(x: Floats) -> Floats:
    return _logistic(x) * _logistic(-x)


def _softplus(x: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, x))


_erf_each = np.frompyfunc(math.erf, 1, 1)  # NumPy has no error function


def _erf(x: Floats) -> Floats:
    return np.asarray(_erf_each(x), dtype=np.float64)


def _normal_cdf(x: Floats) -> Floats:
    return 0.5 * (1.0 + _erf(x / _SQRT_2))


def _normal_pdf(x: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _step(x: Floats) -> Floats:
    return np.where(x >= 0.0, 1.0, 0.0)


def _inside(x: Floats, low: float, high: float) -> Floats:
    return np.where((x >= low) & (x < high), 1.0, 0.0)


def _gelu_tanh_inner(x: Floats) -> Floats:
    return np.asarray(np.tanh(_SQRT_2_OVER_PI * (x + _GELU_CUBIC * x**3)))


def _gelu_tanh_slope(x: Floats) -> Floats:
    inner = _gelu_tanh_inner(x)
    rate = _SQRT_2_OVER_PI * (1.0 + 3.0 * _GELU_CUBIC * x * x)
    return 0.5 * (1.0 + inner) + 0.5 * x * (1.0 - inner**2) * rate


def _mish_slope(x: Floats) -> Floats:
    inner = np.tanh(_softplus(x))
    return np.asarray(inner + x * (1.0 - inner**2) * _logistic(x))


def _exponential_unit(
    name: str, below: float, rate: float, scale: float, *, smooth: bool = False
) -> Activation:
    """Return ``scale * (x if x >= 0 else below * (exp(rate * x) - 1))``."""
    left = below * rate
    return Activation(
        name,
        lambda x: scale * np.where(x >= 0.0, x, below * np.expm1(rate * np.minimum(x, 0.0))),
        lambda x: scale * np.where(x >= 0.0, 1.0, left * np.exp(rate * np.minimum(x, 0.0))),
        (0.0,),
        scale if smooth else scale * max(1.0, abs(left)),
    )


def leaky_relu(negative_slope: float = 0.01) -> Activation:
    """Return the leaky ReLU ``max(x, 0) + negative_slope * min(x, 0)``."""
    a = negative_slope
    return Activation(
        "leaky_relu",
        lambda x: np.where(x >= 0.0, x, a * x),
        lambda x: np.where(x >= 0.0, 1.0, a),
        (0.0,),
        max(1.0, abs(a)),
    )


def hardtanh(low: float = -1.0, high: float = 1.0) -> Activation:
    """Return the identity clipped to ``[low, high]``."""
    return Activation(
        "hardtanh",
        lambda x: np.clip(x, low, high),
        lambda x: _inside(x, low, high),
        (low, high),
        1.0,
    )


def elu(alpha: float = 1.0, *, scale: float = 1.0) -> Activation:
    """Return ``scale * (x if x >= 0 else alpha (e^x - 1))``; SELU is one of these."""
    return _exponential_unit("elu", alpha, 1.0, scale)


def celu(alpha: float = 1.0) -> Activation:
    """Return ``x if x >= 0 else alpha (e^(x/alpha) - 1)``, smooth for every alpha."""
    return _exponential_unit("celu", alpha, 1.0 / alpha, 1.0, smooth=True)


def _catalogue() -> dict[str, Activation]:
    relu6 = hardtanh(0.0, 6.0)
    selu = elu(SELU_ALPHA, scale=SELU_SCALE)
    return {
        each.name: each
        for each in (
            Activation("identity", lambda x: x, np.ones_like, (), 1.0),
            Activation("relu", lambda x: np.maximum(x, 0.0), _step, (0.0,), 1.0),
            leaky_relu(),
            Activation("relu6", relu6.value, relu6.slope, relu6.kinks, 1.0),
            Activation(
                "tanh",
                lambda x: np.asarray(np.tanh(x)),
                lambda x: 4.0 * _logistic_slope(2.0 * x),  # 1 - tanh^2 without cancellation
                (),
                1.0,
            ),
            hardtanh(),
            Activation("sigmoid", _logistic, _logistic_slope, (), 0.25),
            Activation(
                "hardsigmoid",
                lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
                lambda x: _inside(x, -3.0, 3.0) / 6.0,
                (-3.0, 3.0),
                1.0 / 6.0,
            ),
            Activation(
                "gelu",
                lambda x: x * _normal_cdf(x),
                lambda x: _normal_cdf(x) + x * _normal_pdf(x),
                (),
                1.1289041451,  # at x = sqrt(2)
            ),
            Activation(
                "gelu_tanh",
                lambda x: 0.5 * x * (1.0 + _gelu_tanh_inner(x)),
                _gelu_tanh_slope,
                (),
                1.1289930687,  # at x = 1.4185
            ),
            Activation(
                "silu",
                lambda x: x * _logistic(x),
                lambda x: _logistic(x) + x * _logistic_slope(x),
                (),
                1.0998393194,  # at x = 2.3994
            ),
            Activation(
                "hardswish",
                lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
                lambda x: np.where(x >= 3.0, 1.0, (2.0 * x + 3.0) / 6.0 * (x >= -3.0)),
                (-3.0, 3.0),
                1.5,  # just left of x = 3
            ),
            Activation(
                "mish",
                lambda x: np.asarray(x * np.tanh(_softplus(x))),
                _mish_slope,
                (),
                1.0884996265,  # at x = 1.4906
            ),
            Activation("softplus", _softplus, _logistic, (), 1.0),
            elu(),
            Activation("selu", selu.value, selu.slope, selu.kinks, selu.steepest),
            celu(),
            Activation(
                "softsign",
                lambda x: x / (1.0 + np.abs(x)),
                lambda x: (1.0 + np.abs(x)) ** -2.0,
                (0.0,),
                1.0,
            ),
            Activation(
                "erf",
                _erf,
                lambda x: np.asarray(2.0 / math.sqrt(math.pi) * np.exp(-x * x)),
                (),
                2.0 / math.sqrt(math.pi),
            ),
            Activation("logsigmoid", lambda x: -_softplus(-x), lambda x: _logistic(-x), (), 1.0),
        )
    }


_CATALOGUE = _catalogue()
_BY_SPELLING = {name.replace("_", ""): each for name, each in _CATALOGUE.items()} | {
    "swish": _CATALOGUE["silu"],
    "linear": _CATALOGUE["identity"],
}

NAMES = tuple(_CATALOGUE)


def _spelling(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name).replace("_", "").lower()


def knows(name: str) -> bool:
    """Whether `activation` knows `name`."""
    return _spelling(name) in _BY_SPELLING


def activation(name: str | Activation) -> Activation:
    """Return an activation by its name, however the field spells it.

    Args:
        name: ``"leaky_relu"``, the module's ``"LeakyReLU"`` or the autograd node's
            ``"LeakyReluBackward0"``; with torch's default parameters. An `Activation`, such as
            ``leaky_relu(0.2)``, is returned as it is.

    Raises:
        UsageError: no activation has this name.

    Example:
        >>> activation("SiluBackward0").name
        'silu'
    """
    if isinstance(name, Activation):
        return name
    found = _BY_SPELLING.get(_spelling(name))
    if found is None:
        raise UsageError(
            f"expected an activation out of {', '.join(NAMES)}",
            f"got '{name}'",
            "Give one of these, or an Activation of your own.",
        )
    return found

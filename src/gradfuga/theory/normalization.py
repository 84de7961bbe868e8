"""Normalisation: the gradient's gain per layer under it, or what stands in for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._errors import UsageError
from .activations import Activation
from .moments import moments


def batch_norm_gain(name: str | Activation) -> float:
    """Return the gain per layer of linear, BatchNorm, phi without a skip, at a large batch.

    ``sqrt(E phi'(z)^2 / Var phi(z)) >= 1``, with equality only for a linear phi (the Gaussian
    Poincare inequality): such networks explode, the faster the smaller the batch. Weight
    standardisation gives the same.

    Example:
        >>> round(batch_norm_gain("relu"), 4)
        1.2112

    References:
        Yang et al. 2019, https://arxiv.org/abs/1902.08129
    """
    at = moments(name)
    return math.sqrt(at.slope_square / at.variance)


def batch_norm_linear_gain(batch: int) -> float:
    """Return the gain per layer of linear, BatchNorm without phi: ``sqrt((B-2) / (B-3))``.

    Args:
        batch: examples B that are normalised over together, at least 4.

    Raises:
        UsageError: the batch is too small for the mean to exist.

    Example:
        >>> round(batch_norm_linear_gain(8) ** 2, 6)
        1.2
    """
    if batch < 4:
        raise UsageError("expected a batch of at least 4", f"got {batch}", "Give a larger batch.")
    return math.sqrt((batch - 2) / (batch - 3))


def layer_norm_gain(name: str | Activation) -> float:
    """Return the gain per layer of linear, LayerNorm or RMSNorm, phi without a skip.

    ``sqrt(E phi'(z)^2 / E phi(z)^2)``: LayerNorm does not repair a sigmoid, BatchNorm does.

    Example:
        >>> round(layer_norm_gain("sigmoid"), 4)
        0.3909
    """
    at = moments(name)
    return math.sqrt(at.slope_square / at.square)


def projection_gain(size: int, *, centers: bool = True) -> float:
    """Return what a norm layer's projection leaves of an isotropic gradient.

    ``sqrt(1 - 2/N)`` where it removes the mean and the component along its output (LayerNorm,
    BatchNorm), ``sqrt(1 - 1/N)`` where it does not center (RMSNorm).

    Args:
        size: values N that are normalised together.
        centers: whether the mean is removed too.

    Example:
        >>> projection_gain(8)
        0.8660254037844386
    """
    return math.sqrt(1.0 - (2.0 if centers else 1.0) / size)


def variance_preserving_gain(name: str | Activation) -> float:
    """Return ``gamma = 1 / sqrt(Var phi(z))``, the factor of normaliser-free networks.

    Example:
        >>> round(variance_preserving_gain("relu"), 4)
        1.7129

    References:
        Brock et al. 2021, https://arxiv.org/abs/2102.06171
    """
    return 1.0 / math.sqrt(moments(name).variance)


@dataclass(frozen=True, slots=True)
class AffineActivation:
    """An activation ``scale * phi(x) + shift``."""

    scale: float
    shift: float


def gaussian_poincare(name: str | Activation) -> AffineActivation:
    """Return a, b so that ``a phi(z) + b`` keeps the signal's length and the gradient's too.

    ``E[(a phi')^2] = E[(a phi + b)^2] = 1``: ``a = 1 / sqrt(E phi'^2)`` and
    ``b = -a E phi + sqrt((a E phi)^2 - a^2 E phi^2 + 1)``. The one repair that keeps a sigmoid
    and needs neither normalisation nor a skip.

    Example:
        >>> repaired = gaussian_poincare("sigmoid")
        >>> round(repaired.scale, 4), round(repaired.shift, 3)
        (4.7226, -2.181)

    References:
        Lu, Gould, Ajanthan 2020, https://arxiv.org/abs/2006.12169
    """
    at = moments(name)
    a = 1.0 / math.sqrt(at.slope_square)
    # never negative: Var phi <= E phi'^2; clipped against rounding for a linear phi
    inside = max(1.0 - a * a * at.variance, 0.0)
    return AffineActivation(a, -a * at.mean + math.sqrt(inside))

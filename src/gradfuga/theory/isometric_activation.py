"""Stretch and shift an activation until signal and gradient both keep their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .activations import Activation
from .moments import moments


@dataclass(frozen=True, slots=True)
class Affine:
    """``stretch * phi(z) + shift``."""

    stretch: float
    shift: float


def isometric(name: str | Activation) -> Affine:
    """Return a, b with ``E[(a phi'(z))^2] = E[(a phi(z) + b)^2] = 1`` for z ~ N(0, 1).

    ``a = 1 / sqrt(E phi'^2)``; b exists because Var phi <= E phi'^2 (Gaussian Poincare). Behind
    layers of unit weight scale neither signal nor gradient then changes its size.

    Example:
        >>> sigmoid = isometric("sigmoid")
        >>> round(sigmoid.stretch, 4), round(sigmoid.shift, 3)
        (4.7226, -2.181)

    References:
        Lu, Gould and Ajanthan 2020, https://arxiv.org/abs/2006.12169
    """
    at = moments(name)
    stretch = 1.0 / at.slope_rms
    return Affine(stretch, shift_of(stretch, at.mean, at.square))


def shift_of(stretch: float, mean: float, square: float) -> float:
    """Return the b of smallest size for which ``E[(a phi + b)^2] = 1``, given E phi and E phi^2.

    Where the variance alone is more than one, there is none: the mean is taken off.
    """
    center = stretch * mean
    room = 1.0 - stretch**2 * (square - mean**2)
    return -center + math.sqrt(max(room, 0.0))

"""Finite width: how far the reach of one healthy random network strays by chance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .activations import Activation
from .moments import moments

# 6 xi, the depth to which networks train (Schoenholz et al. 2017): there the norm is e^-3
TRAINABLE_DECADES = 3.0 / math.log(10.0)
# measured: fluctuations of the variance add 25-50 % to the spread of smooth activations
SMOOTH_SAFETY = 1.5
NULL_SIGMAS = 3.0  # chosen; with it no false alarm on 12 x 5 healthy networks


@dataclass(frozen=True, slots=True)
class ReachLaw:
    """The distribution of a critical network's reach over initialisations: normal, in decades."""

    mean: float
    sd: float


def kappa(name: str | Activation, q: float = 1.0) -> float:
    """Return ``kappa = 3 E phi'^4 / (E phi'^2)^2 - 1``: 5 for ReLU, 2 for a linear layer.

    Example:
        >>> round(kappa("relu"), 6), round(kappa("identity"), 6)
        (5.0, 2.0)
    """
    at = moments(name, q)
    return 3.0 * at.slope_fourth / at.slope_square**2 - 1.0


def inverse_width_sum(widths: Iterable[int]) -> float:
    """Return ``beta = sum 1 / n_l`` over the hidden layers that the gradient crosses.

    Example:
        >>> inverse_width_sum([64] * 32)
        0.5
    """
    return sum(1.0 / width for width in widths)


def reach_law(kappa: float, beta: float, *, safety: float = 1.0) -> ReachLaw:
    """Return the law of the reach of a critical network.

    ``log |J^T u|^2 ~ N(-kappa beta / 2, kappa beta)``, hence in decades of the norm the mean
    ``-kappa beta / (4 ln 10)`` and the sd ``sqrt(safety kappa beta) / (2 ln 10)``. The median
    network vanishes a little although the mean of the square is conserved. Holds for beta up to
    about 1.

    Args:
        kappa: of the activation; see `kappa`.
        beta: see `inverse_width_sum`.
        safety: factor on the variance; `SMOOTH_SAFETY` for smooth activations.

    Example:
        >>> law = reach_law(5.0, 0.5)
        >>> round(law.mean, 3), round(law.sd, 3)
        (-0.271, 0.343)

    References:
        Hanin 2018, https://arxiv.org/abs/1801.03744
    """
    ln10 = math.log(10.0)
    spread = math.sqrt(safety * kappa * beta)
    return ReachLaw(-kappa * beta / (4.0 * ln10), spread / (2.0 * ln10))


def vanishing_threshold(law: ReachLaw) -> float:
    """Return the reach, in decades, below which a layer vanishes by more than chance.

    ``-max(1.30, |mean| + 3 sd)``: what neither trainable depth nor finite width explains.

    Example:
        >>> round(vanishing_threshold(reach_law(5.0, 0.05)), 2)
        -1.3
    """
    return -max(TRAINABLE_DECADES, abs(law.mean) + NULL_SIGMAS * law.sd)


def exploding_threshold(law: ReachLaw) -> float:
    """Return the reach, in decades, above which a layer explodes by more than chance.

    ``max(1.30, mean + 3 sd)``, where the mean is negative.

    Example:
        >>> round(exploding_threshold(reach_law(5.0, 2.0)), 2)
        1.3
    """
    return max(TRAINABLE_DECADES, law.mean + NULL_SIGMAS * law.sd)

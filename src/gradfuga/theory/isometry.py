"""Dynamical isometry: the spread of the singular values of a deep network's Jacobian."""

from __future__ import annotations

from .activations import Activation
from .moments import moments


def singular_value_variance(
    name: str | Activation, *, q: float, depth: int, orthogonal: bool = False
) -> float:
    """Return ``Var(s^2) / (E s^2)^2`` of the singular values s of ``J = prod D_l W_l``.

    ``L (mu_2 / mu_1^2 - 1 - s_1)`` with ``mu_k = E phi'(sqrt(q) z)^(2k)``, s_1 = -1 for Gaussian
    weights and 0 for orthogonal ones. 0 is isometry: every direction keeps its gradient. A gain
    of 1 can hide a spectrum with nearly all of its values at 0.

    Args:
        name: the activation.
        q: pre-activation variance, the same in every layer.
        depth: layers L.
        orthogonal: whether the weights are orthogonal instead of Gaussian.

    Example:
        >>> round(singular_value_variance("relu", q=1.0, depth=1), 6)
        2.0
        >>> round(singular_value_variance("identity", q=1.0, depth=9, orthogonal=True), 6)
        0.0

    References:
        Pennington, Schoenholz, Ganguli 2017, https://arxiv.org/abs/1711.04735
    """
    at = moments(name, q)
    kurtosis = at.slope_fourth / at.slope_square**2
    return depth * (kurtosis - 1.0 + (0.0 if orthogonal else 1.0))

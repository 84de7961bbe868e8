"""Recurrence: how fast the gradient decays per time step at a small signal."""

from __future__ import annotations

import math
from collections.abc import Sequence

UNIFORM_RADIUS = 1.0 / math.sqrt(3.0)  # of a hidden matrix uniform in +-1/sqrt(H), torch's default
HORIZON = 1e-3  # the lag at which the gradient has fallen by this is the memory horizon


def _gate(bias: float) -> float:
    return 1.0 / (1.0 + math.exp(-bias))


def rnn_rate(*, radius: float = UNIFORM_RADIUS, slope: float = 1.0) -> float:
    """Return the gradient's gain per step of a plain recurrent network: ``radius * slope``.

    Args:
        radius: spectral radius scale of the hidden matrix, ``sd sqrt(H)``.
        slope: rms slope of the activation: 1 for tanh at a small signal, sqrt(1/2) for ReLU.

    Example:
        >>> round(rnn_rate(), 3)
        0.577
    """
    return radius * slope


def lstm_rate(
    *,
    radius: float = UNIFORM_RADIUS,
    forget_bias: float = 0.0,
    input_bias: float = 0.0,
    output_bias: float = 0.0,
) -> float:
    """Return the same of an LSTM: ``s(b_f) + s(b_i) s(b_o) radius``, s the logistic function.

    Linearised around a small state; the biases are the sums of torch's two.

    Example:
        >>> round(lstm_rate(), 4), round(lstm_rate(forget_bias=1.0), 3)
        (0.6443, 0.875)
    """
    return _gate(forget_bias) + _gate(input_bias) * _gate(output_bias) * radius


def gru_rate(
    *, radius: float = UNIFORM_RADIUS, update_bias: float = 0.0, reset_bias: float = 0.0
) -> float:
    """Return the same of a GRU: ``s(b_z) + (1 - s(b_z)) s(b_r) radius``.

    In torch's convention, ``h = (1 - z) n + z h``.

    Example:
        >>> round(gru_rate(), 4), round(gru_rate(update_bias=1.0), 3)
        (0.6443, 0.809)
    """
    keep = _gate(update_bias)
    return keep + (1.0 - keep) * _gate(reset_bias) * radius


def gated_decay(keep: Sequence[float], lag: int) -> float:
    """Return the gradient's size after `lag` steps where every unit keeps its own share.

    ``sqrt(mean f_j^(2 lag))``: the carousel alone, without the way through the hidden matrix. With
    gates spread as chrono initialisation spreads them it falls like a power, not an exponential.

    Args:
        keep: the forget (LSTM) or update gate (GRU) of every unit, 0 to 1.
        lag: steps.

    Example:
        >>> round(gated_decay([0.5, 0.99], 50), 3)
        0.428

    References:
        Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188
    """
    return math.sqrt(sum(f ** (2 * lag) for f in keep) / len(keep))


def chrono_gates(longest: int, units: int) -> list[float]:
    """Return the keeping gates that chrono initialisation spreads over `units`, small to large.

    ``s(log u)`` with u evenly over 1 to `longest` - 1.

    Example:
        >>> [round(f, 2) for f in chrono_gates(100, 3)]
        [0.95, 0.98, 0.99]
    """
    spread = [1.0 + (longest - 2.0) * (unit + 0.5) / units for unit in range(units)]
    return [u / (1.0 + u) for u in spread]


def memory_horizon(rate: float) -> float:
    """Return the lag in steps after which the gradient has fallen by 1e-3; inf if it does not.

    Example:
        >>> round(memory_horizon(0.6443), 1)
        15.7
    """
    return math.inf if rate >= 1.0 else math.log(HORIZON) / math.log(rate)

"""The steps of torch's recurrent layers, forward and adjoint, in float64 NumPy.

Legend: N examples, H hidden, P state seen from outside (H, or a projection), D inputs, G gates.
Every array of one step is `[N, .]`; `W_ih [G H, D]`, `W_hh [G H, P]`, `W_hr [P, H]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_FLAT = 0.05  # of the steepest slope: |z| > 4.36 of a sigmoid (theory: relative saturation)
_STEEPEST = 0.25  # a sigmoid's slope at zero


@dataclass(frozen=True, slots=True)
class Weights:
    """One layer in one direction; biases are the sums that torch adds."""

    input: Floats
    hidden: Floats
    input_bias: Floats
    hidden_bias: Floats
    projection: Floats | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """What one forward pass showed of its gates.

    Attributes:
        keep: mean of the gate that keeps the state (forget, update), NaN where there is none.
        flat: share of all gate values where the sigmoid is flat.
        slope: root mean square of the slope of the activation that writes the state.
        through: mean over values of the squared slopes from an output to what the gates of the
            same step were fed, summed over the gates; NaN where autograd opens the step itself.
    """

    keep: float
    flat: float
    slope: float
    through: float = np.nan


class Step(Protocol):
    """A recurrent layer: runs forward once, then takes cotangents back step by step."""

    @property
    def width(self) -> int:
        """The number of values of the joint state (h, c)."""

    def forward(self, x: Floats, state: Floats) -> Floats:
        """Run over `x` `[T, N, D]` from the joint state `[N, S]`; return outputs `[T, N, P]`."""

    def adjoint(self, t: int, state: Floats, rows: slice | Floats) -> tuple[Floats, Floats]:
        """Return the gradient at the joint state before step `t`, and at its input.

        `state` is the gradient at the joint state after step `t`, `[M, S]`; `rows` the example
        that each of its rows belongs to.
        """

    def gates(self) -> Gates:
        """Return what the last forward pass showed."""


@final
class PlainStep:
    """h' = phi(W_ih x + W_hh h + b)."""

    def __init__(self, weights: Weights, *, relu: bool) -> None:
        self._w, self._relu = weights, relu
        self._slope = np.zeros((0, 0, 0))

    @property
    def width(self) -> int:
        """H."""
        return self._w.hidden.shape[1]

    def forward(self, x: Floats, state: Floats) -> Floats:
        """See `Step`."""
        fed = x @ self._w.input.T + (self._w.input_bias + self._w.hidden_bias)
        out = np.empty(fed.shape)
        h = state
        for t in range(len(x)):
            z = fed[t] + h @ self._w.hidden.T
            h = np.maximum(z, 0.0) if self._relu else np.tanh(z)
            out[t] = h
        self._slope = (out > 0.0).astype(np.float64) if self._relu else 1.0 - out * out
        return out

    def adjoint(self, t: int, state: Floats, rows: slice | Floats) -> tuple[Floats, Floats]:
        """See `Step`."""
        dz = state * self._slope[t][rows]
        return dz @ self._w.hidden, dz @ self._w.input

    def gates(self) -> Gates:
        """See `Step`."""
        return Gates(np.nan, np.nan, float(np.sqrt(np.mean(self._slope**2))))


@final
class LstmStep:
    """c' = f c + i g, h' = o tanh(c'), projected where the layer projects; joint state (h, c)."""

    def __init__(self, weights: Weights) -> None:
        self._w = weights
        self._size = weights.hidden.shape[0] // 4
        self._seen = np.zeros((0, 0, 0))
        self._cell = self._before = self._seen

    @property
    def width(self) -> int:
        """P + H."""
        return self._w.hidden.shape[1] + self._size

    def forward(self, x: Floats, state: Floats) -> Floats:
        """See `Step`."""
        w, size, seen = self._w, self._size, self._w.hidden.shape[1]
        fed = x @ w.input.T + (w.input_bias + w.hidden_bias)
        h, c = state[:, :seen], state[:, seen:]
        out = np.empty((len(x), x.shape[1], seen))
        self._seen = fed  # the gates i, f, g, o are written over what was fed
        self._cell = np.empty((len(x), x.shape[1], size))  # tanh of the cell
        self._before = np.empty_like(self._cell)  # the cell before the step
        for t in range(len(x)):
            z = fed[t]
            z += h @ w.hidden.T
            g = np.tanh(z[:, 2 * size : 3 * size])
            _sigmoid(z)
            z[:, 2 * size : 3 * size] = g
            self._before[t] = c
            c = z[:, size : 2 * size] * c + z[:, :size] * g
            self._cell[t] = np.tanh(c)
            h = z[:, 3 * size :] * self._cell[t]
            if w.projection is not None:
                h = h @ w.projection.T
            out[t] = h
        return out

    def adjoint(self, t: int, state: Floats, rows: slice | Floats) -> tuple[Floats, Floats]:
        """See `Step`."""
        w, size, seen = self._w, self._size, self._w.hidden.shape[1]
        z, cell, before = self._seen[t][rows], self._cell[t][rows], self._before[t][rows]
        i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
        dh, dc = state[:, :seen], state[:, seen:]
        if w.projection is not None:
            dh = dh @ w.projection
        dc = dc + dh * o * (1.0 - cell * cell)
        dz = np.concatenate(
            [
                dc * g * i * (1.0 - i),
                dc * before * f * (1.0 - f),
                dc * i * (1.0 - g * g),
                dh * cell * o * (1.0 - o),
            ],
            axis=1,
        )
        return np.concatenate([dz @ w.hidden, dc * f], axis=1), dz @ w.input

    def gates(self) -> Gates:
        """See `Step`."""
        size = self._size
        gates = np.concatenate([self._seen[..., : 2 * size], self._seen[..., 3 * size :]], axis=-1)
        keep = float(self._seen[..., size : 2 * size].mean())
        slope = float(np.sqrt(np.mean((1.0 - self._cell**2) ** 2)))
        return Gates(keep, _flat_share(gates), slope, self._through())

    def _through(self) -> float:
        """Return the mean square of d h / d z, of all four gates together."""
        i, f, g, o = np.split(self._seen, 4, axis=-1)
        into_cell = o * (1.0 - self._cell**2)
        slopes = (
            into_cell * g * i * (1.0 - i),
            into_cell * self._before * f * (1.0 - f),
            into_cell * i * (1.0 - g * g),
            self._cell * o * (1.0 - o),
        )
        return float(sum(np.mean(each * each) for each in slopes))


@final
class GruStep:
    """n = tanh(W_in x + r (W_hn h + b)), h' = (1 - z) n + z h."""

    def __init__(self, weights: Weights) -> None:
        self._w = weights
        self._size = weights.hidden.shape[1]
        self._seen = np.zeros((0, 0, 0))
        self._asked = self._before = self._seen

    @property
    def width(self) -> int:
        """H."""
        return self._size

    def forward(self, x: Floats, state: Floats) -> Floats:
        """See `Step`."""
        w, size = self._w, self._size
        fed = x @ w.input.T + w.input_bias
        out = np.empty((len(x), x.shape[1], size))
        self._seen = fed  # the gates r, z and the candidate n are written over what was fed
        self._asked = np.empty_like(out)  # W_hn h + b, which the reset gate scales
        self._before = np.empty_like(out)
        h = state
        for t in range(len(x)):
            asked = h @ w.hidden.T + w.hidden_bias
            gates = fed[t][:, : 2 * size]
            gates += asked[:, : 2 * size]
            _sigmoid(gates)
            self._asked[t], self._before[t] = asked[:, 2 * size :], h
            n = fed[t][:, 2 * size :]
            n += gates[:, :size] * asked[:, 2 * size :]
            np.tanh(n, out=n)
            z = gates[:, size:]
            h = (1.0 - z) * n + z * h
            out[t] = h
        return out

    def adjoint(self, t: int, state: Floats, rows: slice | Floats) -> tuple[Floats, Floats]:
        """See `Step`."""
        size, seen = self._size, self._seen[t][rows]
        r, z, n = seen[:, :size], seen[:, size : 2 * size], seen[:, 2 * size :]
        dn = state * (1.0 - z) * (1.0 - n * n)
        dr = dn * self._asked[t][rows] * r * (1.0 - r)
        dz = state * (self._before[t][rows] - n) * z * (1.0 - z)
        into_h = np.concatenate([dr, dz, dn * r], axis=1)
        into_x = np.concatenate([dr, dz, dn], axis=1)
        return state * z + into_h @ self._w.hidden, into_x @ self._w.input

    def gates(self) -> Gates:
        """See `Step`."""
        size = self._size
        keep = float(self._seen[..., size : 2 * size].mean())
        n = self._seen[..., 2 * size :]
        flat = _flat_share(self._seen[..., : 2 * size])
        return Gates(keep, flat, float(np.sqrt(np.mean((1.0 - n * n) ** 2))))


def _sigmoid(z: Floats) -> None:
    """Apply the logistic function in place, without overflow."""
    z *= 0.5
    np.tanh(z, out=z)
    z += 1.0
    z *= 0.5


def _flat_share(gates: Floats) -> float:
    return float(np.mean(gates * (1.0 - gates) < _FLAT * _STEEPEST))

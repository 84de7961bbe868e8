"""The gradient against the lag: one output step's cotangent taken back through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .recurrent_steps import Floats, Step

_DENSE = 8  # lags up to here are all kept, then four an octave
_TANGENTS = 4  # vectors of the QR method; the leading exponent needs one, more settle it faster
FEWEST_STEPS = 3  # a curve needs two lags
_MOST_TURNS = 256  # steps of the QR method; an exponent's error falls as one over them


@dataclass(frozen=True, slots=True)
class LagCurve:
    """How a loss at one time feels the state `lag` steps before, for one recurrence.

    Attributes:
        weight: the recurrent weight's identity; whoever writes the curve knows its name.
        backward: whether the layer reads the sequence from its end.
        lag: in steps; 1 is the step before the loss.
        norm: median over the examples of |dL/ds| at that lag over |dL/dh| at the loss, s the
            joint state.
        spread: standard deviation over the examples of its log10, in decades.
        input: the same as `norm` for the input of the step at that lag, NaN where it has none.
        statistics: of the recurrence as a whole, by name.
        output: autograd's number of the op that made the layer's outputs, None for a loop.
    """

    weight: int
    backward: bool
    lag: tuple[int, ...]
    norm: tuple[float, ...]
    spread: tuple[float, ...]
    input: tuple[float, ...]
    statistics: dict[str, float] = field(default_factory=dict)
    output: int | None = None


def chosen_lags(steps: int) -> tuple[int, ...]:
    """Return the lags that are kept of a sequence of `steps`: all small ones, then four an octave.

    Example:
        >>> chosen_lags(24)
        (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 23)
    """
    last = steps - 1
    grid = [round(_DENSE * 2 ** (k / 4)) for k in range(1, 64)]
    lags = [*range(1, _DENSE + 1), *grid, last]
    return tuple(sorted({lag for lag in lags if 1 <= lag <= last}))


def measure_lags(
    step: Step, lengths: Sequence[int], cotangent: Floats
) -> tuple[tuple[int, ...], Floats, Floats]:
    """Take `cotangent` back from each example's last step; return lags and per-example norms.

    Args:
        step: after its forward pass.
        lengths: of every example, `[N]`; the loss sits on each one's last step.
        cotangent: at the output there, `[N, P]`, of norm 1 each.

    Returns:
        The lags `[K]`, norms at the joint state `lag` steps before the loss, and norms at the
        input of the step that many before the last, `[K, N]` each; NaN where there is none.
    """
    longest = max(lengths, default=0)
    if longest < FEWEST_STEPS:
        return (), np.zeros((0, len(lengths))), np.zeros((0, len(lengths)))
    lags = chosen_lags(longest)
    row_of = {lag: row for row, lag in enumerate(lags)}
    states: Floats = np.full((len(lags), len(lengths)), np.nan)
    inputs = states.copy()
    ends = np.asarray(lengths)
    state: Floats = np.zeros((len(lengths), step.width))
    with np.errstate(all="ignore"):
        for t in range(longest - 1, -1, -1):
            starting = ends == t + 1
            state[starting, : cotangent.shape[1]] = cotangent[starting]
            state, at_input = step.adjoint(t, state, slice(None))
            for example in np.flatnonzero(ends > t):
                # the state before step t is `ends - t` steps before the loss, its input one less
                lag = int(ends[example]) - t
                if lag in row_of:
                    states[row_of[lag], example] = np.linalg.norm(state[example])
                if lag - 1 in row_of:
                    inputs[row_of[lag - 1], example] = np.linalg.norm(at_input[example])
    return lags, states, inputs


def leading_exponent(
    step: Step, length: int, example: int, generator: np.random.Generator
) -> float:
    """Return the leading Lyapunov exponent of one example's trajectory, in nats per step.

    The QR method: an orthonormal frame is taken through every step's Jacobian and made
    orthonormal again, the mean of ``log R_11`` is the exponent. The frame goes backward through
    the transposed Jacobians, whose product has the same exponents.

    Args:
        step: after its forward pass.
        length: of the example.
        example: its row.
        generator: for the first frame.

    References:
        Benettin et al. 1980; Vogt et al. 2020, https://arxiv.org/abs/2006.14123; Engelken et al.
        2023, https://arxiv.org/abs/2006.02427.
    """
    count = min(_TANGENTS, step.width)
    if length < FEWEST_STEPS or count == 0:
        return float("nan")
    frame = np.linalg.qr(generator.standard_normal((step.width, count)))[0]
    rows = np.full(count, example)
    burn = min(length, _MOST_TURNS) // 5  # the frame turns into the leading directions first
    growth = []
    with np.errstate(all="ignore"):
        for t in range(length - 1, max(0, length - 1 - _MOST_TURNS), -1):
            moved = step.adjoint(t, frame.T, rows)[0].T
            if not np.isfinite(moved).all():
                return float("nan")
            frame, triangle = np.linalg.qr(moved)
            growth.append(np.log(abs(triangle[0, 0])))
    return float(np.mean(growth[burn:])) if len(growth) > burn else float("nan")


def summarize(norms: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the median over the examples, and the spread in decades, for each lag `[K, N]`."""
    middle, spread = [], []
    for row in norms:
        known = row[~np.isnan(row)]
        middle.append(float(np.median(known)) if known.size else float("nan"))
        positive = known[known > 0.0]
        finite = positive[np.isfinite(positive)]
        spread.append(float(np.log10(finite).std()) if finite.size else 0.0)
    return tuple(middle), tuple(spread)

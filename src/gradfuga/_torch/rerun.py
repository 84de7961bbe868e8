"""Run a recurrent layer of torch again, step by step, on a few examples of a sampled batch.

A fused kernel hides time, and where every step has a loss the real backward pass mixes the lags.
The re-run opens both: it takes the cotangent of one output step back through the steps, on copies,
without touching the user's graph, gradients or random state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .lags import FEWEST_STEPS, LagCurve, leading_exponent, measure_lags, summarize
from .recurrent_steps import Floats, GruStep, LstmStep, PlainStep, Step, Weights

_MOST_EXAMPLES = 8
_FEWEST_PROBES = 4  # a single example gets several random cotangents
_MOST_VALUES = 4_000_000  # of one layer's gates over all steps: 32 MB
_MOST_STEPS = 4096  # of longer sequences the end is run, from a state of zero
_SEED = 20  # of our own generator: the process's random state stays as it is
# float32 against float64 over hundreds of steps; a forward pass that another code wrote is off by
# the size of the output itself
_SAME = 0.02


@dataclass(frozen=True, slots=True)
class RecurrentCall:
    """One call of a recurrent layer of torch, with its tensors detached.

    Attributes:
        module: an `nn.RNN`, `nn.LSTM` or `nn.GRU`.
        input: what went in.
        state: the initial state that was given: none, (h,) or (h, c).
        output: what came out at every step.
        last: the states that came out.
        linked: whether a gradient flows through the given state.
        made_by: autograd's number of the op that made `output`, -1 where there is none.
    """

    module: nn.RNNBase
    input: Tensor | PackedSequence
    state: tuple[Tensor, ...]
    output: Tensor | PackedSequence
    last: tuple[Tensor, ...]
    linked: bool
    made_by: int = -1

    @property
    def time_axis(self) -> int:
        """The dimension of `output` that is time."""
        return int(self.module.batch_first and isinstance(self.output, Tensor))


@dataclass(frozen=True, slots=True)
class _Batch:
    """A few examples, time first: values `[T, N, D]`, lengths `[N]`, their places in the batch."""

    values: Floats
    lengths: tuple[int, ...]
    places: tuple[int, ...]


@torch.no_grad()
def rerun(call: RecurrentCall, *, exponents: bool = True) -> tuple[LagCurve, ...]:
    """Measure the gradient against the lag in every layer and direction of `call`.

    Args:
        call: as it happened.
        exponents: whether the Lyapunov exponents are wanted too.

    Returns:
        A curve for each layer and direction; none where the sequences are too short, hold no
        examples, or where the re-run does not reproduce the layer's own output.
    """
    module = call.module
    batch = _batch(call.input, module)
    if batch is None:
        return ()
    held = dict(zip(module._flat_weights_names, module._flat_weights, strict=True))  # noqa: SLF001
    generator = np.random.default_rng(_SEED)
    directions = 2 if module.bidirectional else 1
    x = batch.values
    curves: list[LagCurve] = []
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"l{layer}" + ("_reverse" if direction else "")
            fed = _reversed(x, batch.lengths) if direction else x
            step = _step(module, held, suffix)
            start = _start(call.state, layer * directions + direction, batch, step, module)
            with np.errstate(all="ignore"):
                out = step.forward(fed.copy(), start)
            weight = id(held[f"weight_hh_{suffix}"])
            backward = bool(direction)
            curve = _curve(step, batch, out.shape[2], weight, generator, backward, exponents)
            if curve is not None:
                curves.append(curve)
            outputs.append(_reversed(out, batch.lengths) if direction else out)
        x = np.concatenate(outputs, axis=2)
    error = _error(x, call, batch)
    # dropout between the layers is left out of the re-run, which then is of a typical pass only
    masked = module.training and module.dropout > 0.0 and module.num_layers > 1
    if not (error < _SAME or masked):
        return ()
    return tuple(
        replace(curve, statistics={**curve.statistics, "rerun_error": error}, output=call.made_by)
        for curve in curves
    )


def too_short(call: RecurrentCall) -> LagCurve | None:
    """Return a curve without lags, of the length alone, for sequences that have no two lags."""
    data, module = call.input, call.module
    if isinstance(data, PackedSequence):
        steps = len(data.batch_sizes)
    else:
        steps = data.shape[1 if module.batch_first and data.dim() == 3 else 0]  # noqa: PLR2004
    if not 0 < steps < FEWEST_STEPS:
        return None
    names = dict(zip(module._flat_weights_names, module._flat_weights, strict=True))  # noqa: SLF001
    weight = id(names["weight_hh_l0"])
    return LagCurve(
        weight,
        backward=False,
        lag=(),
        norm=(),
        spread=(),
        input=(),
        statistics={"time_steps": float(steps)},
    )


def _curve(
    step: Step,
    batch: _Batch,
    seen: int,
    weight: int,
    generator: np.random.Generator,
    backward: bool,
    exponents: bool,
) -> LagCurve | None:
    cotangent = generator.standard_normal((len(batch.lengths), seen))
    cotangent /= np.linalg.norm(cotangent, axis=1, keepdims=True)
    lags, states, inputs = measure_lags(step, batch.lengths, cotangent)
    if not lags or not np.isfinite(states[0]).any():
        return None
    gates = step.gates()
    statistics = {
        "time_steps": float(max(batch.lengths)),
        "gate_keep": gates.keep,
        "gate_flat": gates.flat,
        "slope_rms": gates.slope,
        "mean_squared_slope": gates.through,
    }
    if exponents:
        longest = int(np.argmax(batch.lengths))
        statistics["lyapunov"] = leading_exponent(step, batch.lengths[longest], longest, generator)
    norm, spread = summarize(states)
    known = {name: value for name, value in statistics.items() if not math.isnan(value)}
    return LagCurve(weight, backward, lags, norm, spread, summarize(inputs)[0], known)


def _step(module: nn.RNNBase, held: dict[str, Tensor | None], suffix: str) -> Step:
    def array(name: str) -> Floats | None:
        value = held.get(f"{name}_{suffix}")
        return None if value is None else value.detach().to("cpu", torch.float64).numpy()

    w_ih, w_hh = array("weight_ih"), array("weight_hh")
    assert w_ih is not None
    assert w_hh is not None
    nothing = np.zeros(len(w_ih))
    b_ih, b_hh = array("bias_ih"), array("bias_hh")
    weights = Weights(
        w_ih,
        w_hh,
        nothing if b_ih is None else b_ih,
        nothing if b_hh is None else b_hh,
        array("weight_hr"),
    )
    if module.mode == "LSTM":
        return LstmStep(weights)
    if module.mode == "GRU":
        return GruStep(weights)
    return PlainStep(weights, relu=module.mode == "RNN_RELU")


def _batch(given: Tensor | PackedSequence, module: nn.RNNBase) -> _Batch | None:
    """Return a few examples of what a layer was given; None where there is nothing to run."""
    if isinstance(given, PackedSequence):
        return _unpacked(given, module)
    if given.dim() not in (2, 3) or given.numel() == 0:
        return None
    values = given.unsqueeze(1) if given.dim() == 2 else given  # noqa: PLR2004 ([T, D]: one example)
    if given.dim() == 3 and module.batch_first:  # noqa: PLR2004
        values = values.transpose(0, 1)
    values = values[-_MOST_STEPS:]
    places = _places(values.shape[1], _few(values.shape[0], module))
    chosen = values[:, list(places)].detach().to("cpu", torch.float64).numpy()
    return _Batch(chosen, (len(chosen),) * len(places), places)


def _unpacked(given: PackedSequence, module: nn.RNNBase) -> _Batch | None:
    sizes = given.batch_sizes.tolist()
    if not sizes or given.data.numel() == 0:
        return None
    sizes = sizes[:_MOST_STEPS]
    places = _places(sizes[0], _few(len(sizes), module))  # in the order of length, longest first
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    lengths = tuple(sum(size > place for size in sizes) for place in places)
    values = np.zeros((len(sizes), len(places), given.data.shape[1]))
    for column, (place, length) in enumerate(zip(places, lengths, strict=True)):
        rows = torch.as_tensor(starts[:length] + place, device=given.data.device)
        values[:length, column] = given.data[rows].detach().to("cpu", torch.float64).numpy()
    return _Batch(values, lengths, places)


def _few(steps: int, module: nn.RNNBase) -> int:
    """Return how many examples are run: fewer of long sequences and wide layers."""
    gates = {"LSTM": 6, "GRU": 5}.get(module.mode, 1)
    fit = _MOST_VALUES // max(steps * module.hidden_size * gates, 1)
    return max(1, min(_MOST_EXAMPLES, fit))


def _places(count: int, few: int) -> tuple[int, ...]:
    """Return the places of `few` examples, evenly spread; of very few each several times."""
    most = min(few, count)
    chosen = sorted({round(k * (count - 1) / max(most - 1, 1)) for k in range(most)})
    again = math.ceil(_FEWEST_PROBES / len(chosen)) if few >= _FEWEST_PROBES else 1
    return tuple(place for place in chosen for _ in range(again))


def _start(
    state: tuple[Tensor, ...], row: int, batch: _Batch, step: Step, module: nn.RNNBase
) -> Floats:
    if not state or batch.lengths[0] >= _MOST_STEPS:
        return np.zeros((len(batch.places), step.width))
    parts = []
    for each in state[: 2 if module.mode == "LSTM" else 1]:
        values = each.unsqueeze(1) if each.dim() == 2 else each  # noqa: PLR2004 (one example)
        taken = values[row][list(batch.places)]
        parts.append(taken.detach().to("cpu", torch.float64).numpy())
    return np.concatenate(parts, axis=1)


def _reversed(x: Floats, lengths: Sequence[int]) -> Floats:
    """Return every example read from its own end."""
    out = np.zeros_like(x)
    for example, length in enumerate(lengths):
        out[:length, example] = x[:length, example][::-1]
    return out


def _error(x: Floats, call: RecurrentCall, batch: _Batch) -> float:
    """Return how far the re-run's last outputs are from the layer's own, relative."""
    module = call.module
    theirs = _batch(call.output, module)
    if theirs is None or theirs.values.shape != x.shape:
        return math.inf
    last = np.asarray(batch.lengths) - 1
    rows = np.arange(len(last))
    wanted, found = theirs.values[last, rows], x[last, rows]
    scale = float(np.linalg.norm(wanted))
    distance = float(np.linalg.norm(found - wanted))
    return distance / scale if scale > 0.0 else (0.0 if distance == 0.0 else math.inf)

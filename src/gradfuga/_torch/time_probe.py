"""Measure the gradient against the lag in every recurrence of a sampled step."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from .chain_probe import probe
from .chains import Chain, is_continued
from .lags import LagCurve
from .parts import Parts
from .rerun import RecurrentCall, rerun, too_short
from .walk import Walk

# A probe that costs more bare steps than this is taken on samples 0, 1, 2, 4, 8, ... only: with
# the tape's own two steps at most, a sampled step stays below four.
_MOST_BARE_STEPS = 2.0
_EXPONENTS = frozenset({0, *(4**k for k in range(1, 16))})  # samples with the QR method
_LAGS = "the probe through time"
_LARGEST_SPECTRUM = 256  # eigenvalues of a larger block take longer than a step


@final
class TimeProbe:
    """Probes the recurrences of one process, as often as they are cheap enough.

    Args:
        parts: of the observer that still work.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._samples = 0
        self._seconds = 0.0  # what the last probe took
        self._ends: weakref.WeakKeyDictionary[nn.Module, tuple[Tensor, ...]] = (
            weakref.WeakKeyDictionary()
        )
        self._carried: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def measure(
        self,
        walk: Walk,
        calls: Sequence[RecurrentCall],
        chains: Sequence[Chain],
        *,
        packed: bool,
        bare_seconds: float,
    ) -> tuple[LagCurve, ...]:
        """Return a curve for each recurrence that could be opened; a failure costs the curves.

        Args:
            walk: the backward graph, before the backward pass.
            calls: calls of torch's recurrent layers in the forward pass.
            chains: the recurrences in it.
            packed: whether saved tensors are packed (checkpoints): then unrolled loops are left
                alone, since unpacking would run the user's forward pass again.
            bare_seconds: of a step without us, 0 where it is not known yet.
        """
        if not self._parts.work(_LAGS):
            return ()
        sample, self._samples = self._samples, self._samples + 1
        rare = sample & (sample - 1) == 0
        if not rare and self._seconds > _MOST_BARE_STEPS * bare_seconds:
            return ()
        try:
            return self._probe(sample, walk, calls, () if packed else chains, scales=rare)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_LAGS, error)
            return ()

    def _probe(
        self,
        sample: int,
        walk: Walk,
        calls: Sequence[RecurrentCall],
        chains: Sequence[Chain],
        *,
        scales: bool,
    ) -> tuple[LagCurve, ...]:
        """Probe the recurrences now; with `scales`, their weights are measured too."""
        started = time.perf_counter()
        curves = [
            curve
            for call in _alone(calls)
            for curve in self._marked(call, rerun(call, exponents=sample in _EXPONENTS))
        ]
        curves += [curve for call in _alone(calls) if (curve := too_short(call)) is not None]
        for call in calls:
            self._ends[call.module] = tuple(each.clone() for each in call.last)
        known = {curve.weight for curve in curves}
        for chain in chains:
            if id(chain.weight) not in known:
                curve = probe(walk, chain)
                if curve is not None:
                    if is_continued(chain, chains, known, walk):
                        curve.statistics["time_continued"] = 1.0
                    curves.append(curve)
        if scales and curves:
            found = _scales(walk.parameters, {curve.weight for curve in curves})
            for curve in curves:
                curve.statistics.update(found.get(curve.weight, {}))
        self._seconds = time.perf_counter() - started
        return tuple(curves)

    def _marked(self, call: RecurrentCall, curves: Sequence[LagCurve]) -> Sequence[LagCurve]:
        """Mark the cut where a state is carried over from the step before without its gradient."""
        ends = self._ends.get(call.module, ())
        if call.state and not call.linked and len(ends) == len(call.state):
            same = all(
                a.shape == b.shape and bool(torch.equal(a, b))
                for a, b in zip(ends, call.state, strict=True)
            )
            if same and any(bool(each.any()) for each in ends):
                self._carried.add(call.module)
        for curve in curves:
            if call.module in self._carried:
                curve.statistics["time_cut"] = curve.statistics["time_steps"]
            if call.linked:
                curve.statistics["time_continued"] = 1.0
        return curves


def _alone(calls: Sequence[RecurrentCall]) -> list[RecurrentCall]:
    """Return one call of each layer: its longest; none of layers that run step by step."""
    by_module: dict[int, list[RecurrentCall]] = {}
    for call in calls:
        by_module.setdefault(id(call.module), []).append(call)
    return [
        max(same, key=_size)
        for same in by_module.values()
        if not any(call.linked for call in same[1:])
    ]


def _size(call: RecurrentCall) -> int:
    data = call.output if isinstance(call.output, Tensor) else call.output.data
    return data.numel()


@torch.no_grad()
def _scales(parameters: Sequence[Tensor], wanted: set[int]) -> dict[int, dict[str, float]]:
    """Return scale, norm and radius of the block of a recurrent weight that writes the state."""
    out: dict[int, dict[str, float]] = {}
    for parameter in parameters:
        if id(parameter) not in wanted or parameter.dim() != 2:  # noqa: PLR2004
            continue
        rows, columns = parameter.shape
        gates = rows // columns if columns and rows % columns == 0 else 0
        if gates not in (1, 3, 4):
            continue
        start = 0 if gates == 1 else 2 * columns  # g of i, f, g, o; n of r, z, n
        block = parameter.detach()[start : start + columns].to("cpu", torch.float64)
        found = {"recurrent_scale": float(block.norm()) / columns**0.5}
        if columns <= _LARGEST_SPECTRUM and bool(torch.isfinite(block).all()):
            found["recurrent_norm"] = float(torch.linalg.matrix_norm(block, 2))
            found["recurrent_radius"] = float(torch.linalg.eigvals(block).abs().max())
        out[id(parameter)] = found
    return out

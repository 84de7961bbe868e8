"""Write what was read of the loss of one step, beside what the best constant makes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from .._types import Kind
from ..flow import FlowGraph
from .crossing import Crossing
from .glimpse import Glimpse, is_due
from .joined_terms import joined_term
from .loss import LossTerm, TargetPool
from .norms import resolve, settled
from .recorder import Recorder
from .scaling import Scaled, unscaled
from .tape import TapeRecord

# A float32 loss has 7 digits: a smaller rest is the rounding of a sum, not a part of the loss.
_ROUNDING = 1e-6
# The targets' entropy is worked out from gradients, to five digits.
_DIVERGENCE = 1e-4
# Probabilities that an epsilon keeps off zero, or that are clamped, add up to 1 but for a tenth.
_NORMALIZED = 0.1


@final
class LossRows:
    """The targets of one training, pooled, and the rows that they give.

    Args:
        recorder: where the rows go.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._pools: dict[str, TargetPool] = {}
        self._looked_at = 0  # the step of the last glimpse

    def wants_glimpse(self, step: int) -> bool:
        """Whether the targets of `step` are worth a look, and there is one term to look for."""
        return len(self._pools) == 1 and is_due(step, self._looked_at)

    def write(
        self, step: int, record: TapeRecord, graph: FlowGraph, scaled: Scaled | None
    ) -> LossTerm | None:
        """Write the terms of a sampled step; return it where it is one, or one at every step."""
        if record.loss is None or not record.terms:
            return None
        scale = resolve([scaled.scale])[0] if scaled is not None else 1.0
        total = resolve([record.loss])[0] / scale
        seen = baseline = least = gain = 0.0
        for place, term in record.terms.items():
            path = graph.ops[place].path
            value = float(term.value) / scale
            if term.crossed is not None:
                self._write_crossed(step, path, term.crossed)
            log_total = float(term.log_total)
            if _NORMALIZED < log_total < math.inf:
                self._recorder.add(step, path, Kind.LOSS, "log_total", log_total)
            if not math.isfinite(value):
                self._write_broken_targets(step, term)
                continue  # its gradient broke, not the loss: left to the part that is not read
            if term.family != "counts" and float(term.weight) < 0.0:  # all others are above zero
                self._recorder.add(step, path, Kind.LOSS, "reversed", 1.0)
            pool = self._pools.setdefault(path, TargetPool())
            here = float(pool.add(term)) / scale
            pooled = float(pool.constant(term)) / scale
            self._recorder.add(step, path, Kind.LOSS, "value", value)
            self._recorder.add(step, path, Kind.LOSS, "baseline", pooled)
            seen, baseline = seen + value, baseline + pooled
            gain += here - value
            least += float(term.least) / scale
        unread = total - seen
        if abs(unread) < _ROUNDING * abs(total):
            unread = 0.0
        floor = unread + least
        # a divergence is the cross entropy less the targets' own: known, though no term says it
        told = least > 0.0 and abs(floor) < _DIVERGENCE * least
        self._recorder.add(step, "loss", Kind.LOSS, "baseline", unread + baseline)
        self._recorder.add(step, "loss", Kind.LOSS, "unread", 0.0 if told else unread)
        self._recorder.add(step, "loss", Kind.LOSS, "floor", floor)
        self._recorder.add(step, "loss", Kind.LOSS, "gain", gain)
        if len(record.terms) > 1 and not record.curves:
            return None
        return joined_term(record.terms, record.walk)

    def _write_crossed(self, step: int, path: str, crossed: Crossing) -> None:
        for axis, size in enumerate(crossed.prediction):
            self._recorder.add(step, path, Kind.LOSS, f"prediction_size.{axis}", float(size))
        for axis, size in enumerate(crossed.target):
            self._recorder.add(step, path, Kind.LOSS, f"target_size.{axis}", float(size))

    def write_glimpse(
        self, step: int, glimpses: Iterable[Glimpse | None], scaled: Scaled | None
    ) -> float:
        """Write what the network of `step` gains over the best constant, without a sample.

        Returns the seconds that the glimpse took.
        """
        found = next((each for each in glimpses if each is not None), None)
        # of two trainings that take turns, the one that was looked at may not be this one
        if found is None or len(self._pools) != 1:
            return 0.0
        started = time.perf_counter()
        self._looked_at = step
        term, pool = found.term, next(iter(self._pools.values()))
        if _holds_nan(term):
            self._write_broken_targets(step, term)
        elif pool.takes(term):
            gain = pool.add(term) - term.value
            gain = settled(gain) if isinstance(gain, Tensor) else gain
            self._recorder.add(step, "loss", Kind.LOSS, "gain", unscaled(gain, scaled))
        return found.seconds + time.perf_counter() - started

    def _write_broken_targets(self, step: int, term: LossTerm) -> None:
        """Write how many targets of a broken loss are no finite numbers."""
        broken = torch.count_nonzero(~torch.isfinite(term.target))
        self._recorder.add(step, "target", Kind.LOSS, "nonfinite", broken)


def _holds_nan(term: LossTerm) -> bool:
    """Whether a glimpse on the CPU shows targets that are no finite numbers."""
    moments = term.moments
    return not isinstance(moments, Tensor) and not math.isfinite(float(moments.sum()))

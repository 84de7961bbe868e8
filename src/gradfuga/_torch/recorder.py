"""Keep what was measured: bounded in memory, whole on disk."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from .._contracts import AbstractSink
from .._types import Kind
from ..flow import FlowGraph
from ..readings import Key, Readings, RunRecord
from .columns import Columns
from .norms import Measured, resolve
from .parts import warn_once

if TYPE_CHECKING:
    from ..readings import Floats, Steps

# Memory holds this many sampled steps and losses; beyond that a quarter of those between is
# let go, so that it does not grow with the length of the run. The disk keeps everything.
MOST_SAMPLES = 512
MOST_LOSSES = 16_384
_FLUSH_VALUES = 50_000
_FLUSH_SECONDS = 10.0
_PENDING_LOSSES = 256
_LATEST = 64  # last steps that thinning leaves alone
_KEPT = 16  # first steps, and first losses that are not finite, that thinning leaves alone

_LOSS: list[Key] = [("loss", Kind.LOSS, "value")]


@final
class Recorder:
    """Takes measured values, brings them to the host in batches, hands them to the sinks."""

    def __init__(self, folder: Path | None, sinks: Sequence[AbstractSink] = ()) -> None:
        self.folder = folder
        self._sinks = list(sinks) if folder is not None else []
        self._pending: list[tuple[int, list[Key], list[Measured]]] = []
        self._losses: list[tuple[int, Measured]] = []
        self._held = Columns()
        self._kept_losses = _Losses()
        self._batch = Columns()  # what the sinks have not got yet
        self._written = 0
        self._last_write = time.monotonic()
        self.nonfinite_loss = False
        self.failures: list[str] = []  # of sinks

    def add(self, step: int, path: str, kind: Kind, statistic: str, value: Measured) -> None:
        """Take one value; it may still be on its device."""
        keys, values = self._at(step)
        keys.append((path, kind, statistic))
        values.append(value)

    def add_all(self, step: int, keys: Sequence[Key], values: Sequence[Measured]) -> None:
        """Take one value for each key."""
        if keys:
            known, held = self._at(step)
            known.extend(keys)
            held.extend(values)

    def _at(self, step: int) -> tuple[list[Key], list[Measured]]:
        """Return what has been taken of a step so far, to be added to."""
        if not self._pending or self._pending[-1][0] != step:
            self._pending.append((step, [], []))
        return self._pending[-1][1:]

    def loss(self, step: int, value: Measured) -> None:
        """Take the total loss of one optimizer step."""
        self._losses.append((step, value))
        if len(self._losses) >= _PENDING_LOSSES:
            self._collect_losses()

    def collect(self) -> None:
        """Bring everything pending to the host: one stack and one copy."""
        values = resolve([each for _, _, held in self._pending for each in held])
        first = 0
        for step, keys, _ in self._pending:
            held = values[first : first + len(keys)]
            first += len(keys)
            self._held.put(step, keys, held)
            if self._sinks:
                self._batch.put(step, keys, held)
        self._pending.clear()
        self._collect_losses()

    def _collect_losses(self) -> None:
        values = resolve([value for _, value in self._losses])
        for (step, _), value in zip(self._losses, values, strict=True):
            self._kept_losses.put(step, value)
            self.nonfinite_loss |= not math.isfinite(value)
            if self._sinks:
                self._batch.put(step, _LOSS, (value,))
        self._losses.clear()
        self._kept_losses.thin()

    def thin(self, sampled: Sequence[int]) -> list[int]:
        """Let go of old samples where there are too many; return the sampled steps kept."""
        if len(sampled) <= MOST_SAMPLES:
            return list(sampled)
        steps = np.asarray(sampled, dtype=np.int64)
        kept: list[int] = steps[_thinned(steps, np.zeros(len(steps)))].tolist()
        self._held.drop(frozenset(sampled).difference(kept))  # glimpses between the samples stay
        return kept

    def flush(
        self, about: Callable[[], tuple[FlowGraph, RunRecord]], *, force: bool = False
    ) -> None:
        """Hand the batch to the sinks when it is due; only then ask what it is `about`."""
        if not self._sinks:
            return
        waited = time.monotonic() - self._last_write
        if not force and self._batch.values < _FLUSH_VALUES and waited < _FLUSH_SECONDS:
            return
        self._last_write = time.monotonic()
        graph, record = about()
        batch = Readings.of(self._batch.series(), graph=graph, record=record)
        for sink in list(self._sinks):
            try:
                sink.write(batch, self.folder, self._written)  # type: ignore[arg-type]  # sinks imply a folder
            except Exception as error:  # noqa: BLE001 (a sink never ends the user's run)
                self._sinks.remove(sink)
                self.failures.append(warn_once(f"the sink '{sink.code}'", error))
        self._written += 1
        self._batch = Columns()

    def readings(self, graph: FlowGraph, record: RunRecord) -> Readings:
        """Return what memory holds."""
        self.collect()
        losses = self._kept_losses.arrays()
        series = {_LOSS[0]: losses} if len(losses[0]) else {}
        return Readings.of({**series, **self._held.series()}, graph=graph, record=record)


@final
class _Losses:
    """The losses of a run that may be long: some are let go of where there are too many."""

    def __init__(self) -> None:
        self._steps = array("q")
        self._values = array("d")

    def put(self, step: int, value: float) -> None:
        """Take the loss of `step`; the last one counts."""
        if self._steps and self._steps[-1] == step:
            self._values[-1] = value
        else:
            self._steps.append(step)
            self._values.append(value)

    def arrays(self) -> tuple[Steps, Floats]:
        """Return copies of the steps and the values."""
        return np.array(self._steps, dtype=np.int64), np.array(self._values, dtype=np.float64)

    def thin(self) -> None:
        """Let go of a quarter of them where there are more than MOST_LOSSES."""
        if len(self._steps) > MOST_LOSSES:
            steps, values = self.arrays()
            places = _thinned(steps, values)
            self._steps = array("q", steps[places].tobytes())
            self._values = array("d", values[places].tobytes())


def _thinned(steps: Steps, values: Floats) -> Steps:
    """Return the places of three quarters: the first and last ones, an even cover between.

    Even over steps, however often it is done: dropping every second of the older half would, done
    again and again, leave a hole where the run was young. The first ones that are not finite stay.
    """
    middle = steps[_KEPT:-_LATEST]
    broken = np.flatnonzero(~np.isfinite(values[_KEPT:-_LATEST]))[:_KEPT]
    marks = np.linspace(middle[0], middle[-1], 3 * len(steps) // 4 - _KEPT - _LATEST)
    kept = np.zeros(len(steps), dtype=np.bool_)  # np.unique would load 2 MB of numpy.ma
    kept[:_KEPT] = kept[-_LATEST:] = True
    kept[_KEPT + broken] = True
    kept[_KEPT + np.searchsorted(middle, marks)] = True
    return np.flatnonzero(kept)

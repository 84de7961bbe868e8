"""Keep what was measured: bounded in memory, whole on disk."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from .._contracts import AbstractSink
from .._types import Kind
from ..flow import FlowGraph
from ..readings import Reading, Readings, RunRecord
from .norms import Measured, resolve
from .parts import warn_once

if TYPE_CHECKING:
    from ..readings import Floats, Steps

# Memory holds this many sampled steps and losses; beyond that a quarter of those between is
# let go, so that it does not grow with the length of the run. The disk keeps everything.
MOST_SAMPLES = 512
MOST_LOSSES = 16_384
_FLUSH_ROWS = 50_000
_FLUSH_SECONDS = 10.0
_PENDING_LOSSES = 256
_LATEST = 64  # last steps that thinning leaves alone
_MOST_COLUMNS = 256  # tuples of keys that are remembered
_KEPT = 16  # first steps, and first losses that are not finite, that thinning leaves alone

Key = tuple[str, Kind, str]


@final
class Recorder:
    """Takes measured values, brings them to the host in batches, hands them to the sinks."""

    def __init__(self, folder: Path | None, sinks: Sequence[AbstractSink] = ()) -> None:
        self.folder = folder
        self._sinks = list(sinks) if folder is not None else []
        self._pending: list[tuple[int, Sequence[Key], Sequence[Measured]]] = []
        self._losses: list[tuple[int, Measured]] = []
        self._rows: dict[Key, _Series] = {}
        self._columns: dict[int, tuple[Sequence[Key], list[_Series]]] = {}  # by identity of keys
        self._loss_row = _Series()
        self._batch: list[Reading] = []
        self._written = 0
        self._last_write = time.monotonic()
        self.nonfinite_loss = False
        self.failures: list[str] = []  # of sinks

    def add(self, step: int, path: str, kind: Kind, statistic: str, value: Measured) -> None:
        """Take one value; it may still be on its device."""
        self._pending.append((step, ((path, kind, statistic),), (value,)))

    def add_all(self, step: int, keys: Sequence[Key], values: Sequence[Measured]) -> None:
        """Take one value for each key; the keys may be the same tuple at every step."""
        self._pending.append((step, keys, values))

    def loss(self, step: int, value: Measured) -> None:
        """Take the total loss of one optimizer step."""
        self._losses.append((step, value))
        if len(self._losses) >= _PENDING_LOSSES:
            self._collect_losses()

    def collect(self) -> None:
        """Bring everything pending to the host: one stack and one copy."""
        values = iter(resolve([each for _, _, held in self._pending for each in held]))
        for step, keys, _ in self._pending:
            found = self._series(keys)
            held = list(islice(values, len(keys)))
            for series, value in zip(found, held, strict=True):  # `put`, hundreds of times a step
                if series.steps and series.steps[-1] == step:
                    series.values[-1] = value
                else:
                    series.steps.append(step)
                    series.values.append(value)
            if self._sinks:
                self._batch += [
                    Reading(step, *key, value) for key, value in zip(keys, held, strict=True)
                ]
        self._pending.clear()
        self._collect_losses()

    def _series(self, keys: Sequence[Key]) -> list[_Series]:
        """Return the series of the keys; a tuple that comes at every step is looked up once."""
        known = self._columns.get(id(keys))
        if known is not None and known[0] is keys:
            return known[1]
        rows = self._rows
        found = []
        for key in keys:
            series = rows.get(key)
            if series is None:
                series = rows[key] = _Series()
            found.append(series)
        if len(keys) > 1:
            if len(self._columns) >= _MOST_COLUMNS:
                self._columns.clear()
            self._columns[id(keys)] = keys, found
        return found

    def _collect_losses(self) -> None:
        values = resolve([value for _, value in self._losses])
        for (step, _), value in zip(self._losses, values, strict=True):
            self._loss_row.put(step, value)
            self.nonfinite_loss |= not math.isfinite(value)
            if self._sinks:
                self._batch.append(Reading(step, "loss", Kind.LOSS, "value", value))
        self._losses.clear()
        if len(self._loss_row.steps) > MOST_LOSSES:
            self._loss_row.keep(_thinned(*self._loss_row.arrays()))

    def thin(self, sampled: Sequence[int]) -> list[int]:
        """Let go of old samples where there are too many; return the sampled steps kept."""
        if len(sampled) <= MOST_SAMPLES:
            return list(sampled)
        steps = np.asarray(sampled, dtype=np.int64)
        kept = steps[_thinned(steps, np.zeros(len(steps)))].tolist()
        gone = frozenset(sampled).difference(kept)  # glimpses between the samples stay
        for series in self._rows.values():
            places = [place for place, step in enumerate(series.steps) if step not in gone]
            series.keep(np.array(places, dtype=np.int64))
        return list(kept)

    def flush(
        self, about: Callable[[], tuple[FlowGraph, RunRecord]], *, force: bool = False
    ) -> None:
        """Hand the batch to the sinks when it is due; only then ask what it is `about`."""
        if not self._sinks:
            return
        waited = time.monotonic() - self._last_write
        if not force and len(self._batch) < _FLUSH_ROWS and waited < _FLUSH_SECONDS:
            return
        self._last_write = time.monotonic()
        graph, record = about()
        batch = Readings(self._batch, graph=graph, record=record)
        for sink in list(self._sinks):
            try:
                sink.write(batch, self.folder, self._written)  # type: ignore[arg-type]  # sinks imply a folder
            except Exception as error:  # noqa: BLE001 (a sink never ends the user's run)
                self._sinks.remove(sink)
                self.failures.append(warn_once(f"the sink '{sink.code}'", error))
        self._written += 1
        self._batch = []

    def readings(self, graph: FlowGraph, record: RunRecord) -> Readings:
        """Return what memory holds."""
        self.collect()
        rows = (
            Reading(step, *key, value)
            for key, series in self._rows.items()
            for step, value in zip(series.steps, series.values, strict=True)
        )
        losses = (
            Reading(step, "loss", Kind.LOSS, "value", value)
            for step, value in zip(self._loss_row.steps, self._loss_row.values, strict=True)
        )
        return Readings(chain(losses, rows), graph=graph, record=record)


@final
class _Series:
    """One statistic at one path over the steps: 16 bytes a value, where a dict takes 100."""

    __slots__ = ("steps", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")

    def put(self, step: int, value: float) -> None:
        """Take the value of `step`; a step's last value counts."""
        if self.steps and self.steps[-1] == step:
            self.values[-1] = value
        else:
            self.steps.append(step)
            self.values.append(value)

    def arrays(self) -> tuple[Steps, Floats]:
        """Return copies of the steps and the values."""
        return np.array(self.steps, dtype=np.int64), np.array(self.values, dtype=np.float64)

    def keep(self, places: Steps) -> None:
        """Let go of the values at all other places."""
        steps, values = self.arrays()
        self.steps = array("q", steps[places].tobytes())
        self.values = array("d", values[places].tobytes())


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

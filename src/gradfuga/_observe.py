"""Observe a training: the verb that fills Readings."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, final

from ._catalog import collect
from ._contracts import AbstractSink
from ._errors import ObservationError, UsageError
from ._messages import _
from ._torch.naming import devices_of
from ._torch.training import Training
from ._torch.watch import Watch
from .analysis.memory import ends_are_read, longest_reach
from .analysis.progress import measure_progress
from .analysis.reference import reference
from .analysis.window_reference import UNKNOWN, window_reference
from .readings import Readings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

# A training that has made this much progress needs no reference to be called progress.
_CLEAR_PROGRESS = 0.8
_SOLVED = 0.95  # a task that is learned this far needs no longer memory


@final
class Observer:
    """Watches a training while its block runs; made by `observe`.

    Attributes:
        folder: where the run is recorded, None for memory only.
    """

    def __init__(self, watch: Watch, folder: Path | None, *, reference: bool = True) -> None:
        self._watch = watch
        self.folder = folder
        self._learn = _learn if reference else _learn_nothing
        self._finished = False

    def __enter__(self) -> Observer:
        self._watch.attach()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(interrupted=kind is not None and issubclass(kind, KeyboardInterrupt))

    def close(self, *, interrupted: bool = False) -> None:
        """Take every hook away and write what is left; harmless when done twice."""
        self._watch.detach()
        if not self._finished:
            self._finished = True
            self._watch.finish(self._learn, interrupted=interrupted)

    def abandon(self) -> None:
        """Take every hook away and record nothing more: what a forked child must do."""
        self._watch.detach()
        self._finished = True

    @property
    def trainings(self) -> tuple[Readings, ...]:
        """The readings of every training seen, one for each optimizer."""
        return tuple(training.readings() for training in self._watch.trainings if training.steps)

    @property
    def readings(self) -> Readings:
        """The readings of the training, of the longest one where there are several.

        Raises:
            ObservationError: no optimizer has stepped yet.
        """
        trainings = self.trainings
        if not trainings:
            raise ObservationError(
                _("expected at least one optimizer step inside the observed block"),
                _("got none"),
                _("Train inside `with observe(model, optimizer):`, with optimizer.step()."),
            )
        return max(trainings, key=lambda readings: readings.record.steps)


def observe(
    model: nn.Module | None = None,
    optimizer: Optimizer | None = None,
    *,
    budget: float = 0.01,
    every: int | None = None,
    out: str | os.PathLike[str] | None = None,
    script: str = "",
    sinks: Sequence[AbstractSink] | None = None,
    tape: bool = True,
    reference: bool = True,
) -> Observer:
    """Observe a training without changing it.

    Args:
        model: the root module, for its names; found by itself where it is left out.
        optimizer: observe only this optimizer; every one of the process where it is left out.
        budget: largest share of the training's time that observing may take, start-up samples
            apart (at most 20 samples and 5 seconds).
        every: sample each N-th step instead of keeping a budget.
        out: a folder to record into; memory only where it is left out.
        script: name of the script, for the record.
        sinks: what writes into `out`; Parquet parts where it is left out.
        tape: whether sampled steps read the backward graph, or only the parameters.
        reference: whether a cheap model is asked at the end what the task permits.

    Returns:
        A context manager; its `readings` go to `diagnose`.

    Raises:
        UsageError: `budget` or `every` is out of range, or `model` is an nn.DataParallel over
            several devices.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with observe(model, optimizer) as observer:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(8, 4)).square().mean().backward()
        ...         _ = optimizer.step()
        >>> observer.readings.record.steps
        3
    """
    if every is not None and every < 1:
        raise UsageError(
            _("expected every as a number of steps from 1"),
            _("got {value}").format(value=every),
            _("Write every=100."),
        )
    if not 0.0 < budget <= 1.0:
        raise UsageError(
            _("expected budget as a share of the training's time above 0 and at most 1"),
            _("got {value}").format(value=budget),
            _("Write budget=0.01 for one per cent."),
        )
    devices = devices_of(model)
    if len(devices) > 1:
        raise UsageError(
            _("expected a model that runs in one piece in this process"),
            _("got nn.DataParallel over {count} devices").format(count=len(devices)),
            _("Use torch.nn.parallel.DistributedDataParallel, one process a device."),
        )
    folder = Path(out) if out is not None else None
    if sinks is None:
        sinks = tuple(collect("gradfuga.sinks", "SINK", of=AbstractSink).values())  # type: ignore[type-abstract]
    watch = Watch(
        model=model,
        optimizer=optimizer,
        budget=budget,
        every=every,
        folder=folder,
        sinks=sinks,
        script=script,
        tape=tape,
    )
    return Observer(watch, folder, reference=reference)


def _learn(training: Training) -> Mapping[str, float]:
    """Ask what the task permits, where progress leaves that open; statistics of the loss."""
    readings = training.readings()
    progress = measure_progress(readings)
    if not progress.known or progress.u > _SOLVED:
        return {}
    learned = _memory_statistics(readings, training)
    pairs = training.tapes.book.pairs() if progress.u <= _CLEAR_PROGRESS else None
    if pairs is not None:
        inputs, targets, family = pairs
        found = reference(inputs, targets, family=family)
        if math.isfinite(found.u):
            learned |= {"reference": found.u, "reference_error": found.error}
    return learned


def _memory_statistics(readings: Readings, training: Training) -> dict[str, float]:
    """Return what models with a memory of the network's own horizon reach, and what others do."""
    reach = longest_reach(readings)
    if not math.isfinite(reach):
        return {}
    horizon = max(1, math.ceil(reach))
    book = training.tapes.sequences
    if not ends_are_read(readings, per_step=book.per_step):
        return {}
    pairs = book.pairs(horizon, since=readings.record.steps // 2)
    found = window_reference(pairs, horizon=horizon) if pairs is not None else UNKNOWN
    if pairs is None or not math.isfinite(found.long):
        return {}
    way = {"memory_way": found.way} if math.isfinite(found.way) else {}
    return way | {
        "memory_per_step": float(book.per_step),
        "memoryless": found.memoryless,
        "short_memory": found.short,
        "long_memory": found.long,
        "memory_error": found.error,
        "telling_lag": float(found.lag),
        "assumed_horizon": float(horizon),
        "memory_steps": float(pairs.inputs.shape[1]),
    }


def _learn_nothing(training: Training) -> Mapping[str, float]:
    """Ask nobody what the task permits."""
    return {}

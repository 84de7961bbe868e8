"""Keep the roll of a process's trainings: which optimizer goes on with which one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import final

from torch import nn
from torch.optim import Optimizer

from .._contracts import AbstractSink
from .cadence import Cadence
from .collective import rank
from .joined import AnyOptimizer
from .parameters import trainable
from .parts import Parts
from .recorder import Recorder
from .training import Training

_MOST_TRAININGS = 64  # a script that makes more optimizers is searching, not training


@final
class Roll:
    """Finds the training of an optimizer, or begins one.

    Args:
        model: the root module, where the user gave it.
        only: observe only this optimizer.
        budget: the observer's time over the bare training's.
        every: sample each N-th step instead.
        folder: where to record, None for memory only.
        sinks: what writes into the folder.
        script: its name, for the record.
        parts: of the observer that still work.
    """

    def __init__(
        self,
        *,
        model: nn.Module | None,
        only: Optimizer | None,
        budget: float,
        every: int | None,
        folder: Path | None,
        sinks: Sequence[AbstractSink],
        script: str,
        parts: Parts,
    ) -> None:
        self._parts = parts
        self._model, self._only = model, only
        self._budget, self._every = budget, every
        self._folder, self._sinks, self._script = folder, sinks, script
        self._lock = threading.Lock()
        self.trainings: list[Training] = []
        self._of_optimizer: weakref.WeakKeyDictionary[AnyOptimizer, Training] = (
            weakref.WeakKeyDictionary()
        )
        self._of_parameters: dict[frozenset[int], Training] = {}
        self._latest: tuple[weakref.ref[AnyOptimizer], Training] | None = None

    @property
    def takes_all(self) -> bool:
        """Whether whatever trains is to be observed, not one optimizer that was named."""
        return self._only is None

    def observed(self, optimizer: AnyOptimizer) -> bool:
        """Whether this optimizer is to be observed at all."""
        return self._only is None or optimizer is self._only

    def of(self, optimizer: AnyOptimizer) -> Training | None:
        """Return the optimizer's training; None beyond the number that one script may have."""
        latest = self._latest  # nearly always the same one: a weak dictionary is slower
        if latest is not None and latest[0]() is optimizer:
            return latest[1]
        known = self._of_optimizer.get(optimizer)
        if known is not None:
            self._latest = weakref.ref(optimizer), known
            return known
        with self._lock:
            # an optimizer made anew over the same parameters goes on with the same training
            parameters = frozenset(id(p) for p in trainable(optimizer))
            known = self._of_parameters.get(parameters)
            if known is None or not known.continues(parameters):
                if len(self.trainings) >= _MOST_TRAININGS:
                    return None
                number = len(self.trainings)
                recorded = self._folder is not None and rank() == 0
                folder = self._folder / str(number) if recorded else None  # type: ignore[operator]
                known = Training(
                    optimizer,
                    cadence=Cadence(budget=self._budget, every=self._every),
                    recorder=Recorder(folder, self._sinks),
                    script=self._script,
                    model=self._model,
                    parts=self._parts,
                )
                self.trainings.append(known)
                self._of_parameters[parameters] = known
            self._of_optimizer[optimizer] = known
            return known

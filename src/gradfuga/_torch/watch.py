"""The seams of a running process: where steps, backward passes and forwards are seen."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from .._catalog import collect
from .._contracts import AbstractSink, AbstractStatistic
from .cadence import Cadence
from .examples import ExampleBook
from .norms import Measured
from .parameters import see_gradients, trainable
from .recorder import Recorder, warn_once
from .spies import ForwardSpies
from .tape import Tape
from .training import Entry, Training
from .turns import Turns

_MOST_TRAININGS = 64  # a script that makes more optimizers is searching, not training
_MOST_ENTRIES = 64  # backward passes without a step (adversarial examples, say)


@final
class Watch:
    """Sees every backward pass and optimizer step of the process while it is attached.

    One function is replaced for the time of the observation, `torch.autograd.backward`, because
    nothing else sees the loss; everything else is PyTorch's own global hooks. `detach` restores
    the process as it was.

    Args:
        model: the root module, where the user gave it.
        optimizer: observe only this one.
        budget: the observer's time over the bare training's.
        every: sample each N-th step instead.
        folder: where to record, None for memory only.
        sinks: what writes into the folder.
        script: its name, for the record.
        tape: whether the tape is read on sampled steps, or only the parameters.
    """

    def __init__(
        self,
        *,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        budget: float = 0.01,
        every: int | None = None,
        folder: Path | None = None,
        sinks: Sequence[AbstractSink] = (),
        script: str = "",
        tape: bool = True,
    ) -> None:
        self._model = model
        self._only = optimizer
        self._budget, self._every = budget, every
        self._folder, self._sinks, self._script = folder, sinks, script
        self._tape_on = tape
        self._statistics = _by_node() if tape else {}
        self.trainings: list[Training] = []
        self._of_optimizer: weakref.WeakKeyDictionary[Optimizer, Training] = (
            weakref.WeakKeyDictionary()
        )
        self._of_parameters: dict[frozenset[int], Training] = {}
        self._spies = ForwardSpies()
        self._entries: list[Entry] = []
        self._turns = Turns()
        self._several = False  # whether more than one optimizer steps now, observed or not
        self._others = False  # whether one steps that is not observed
        self._stepped = False
        self._tape_read = False
        self._nested = False
        self._sampling = True  # whether the coming step is sampled; settled after each step
        self._sources_wanted = True
        self._sources_on = False
        self._anomaly_before = False
        self._thread = 0
        self._handles: list[RemovableHandle] = []
        self._backward: Callable[..., None] | None = None
        self._wrapper: Callable[..., None] | None = None
        self._failed_once: set[str] = set()

    # -- attaching -------------------------------------------------------------------------

    def attach(self) -> None:
        """Put the seams in place."""
        self._thread = threading.get_ident()
        self._anomaly_before = torch.is_anomaly_enabled()
        self._handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        original = torch.autograd.backward
        self._backward = original

        def backward(*args: object, **kwargs: object) -> None:
            self._run_backward(original, args, kwargs)

        backward.__wrapped__ = original  # type: ignore[attr-defined]  # as functools.wraps does
        backward.__doc__ = original.__doc__
        self._wrapper = backward
        torch.autograd.backward = backward
        self._arm()

    def detach(self) -> None:
        """Restore the process as it was; harmless when done twice."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._backward is not None and torch.autograd.backward is self._wrapper:
            torch.autograd.backward = self._backward
        self._backward = None
        self._disarm()
        # a `detect_anomaly` block of the program that began while ours was on has restored ours
        ours = torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
        if ours and not self._anomaly_before:
            torch.set_anomaly_enabled(False)
        self._entries.clear()

    def _arm(self) -> None:
        """The next step is sampled: see its forward pass."""
        if not self._tape_on:
            return
        self._spies.install()
        if self._sources_wanted and not torch.is_anomaly_enabled():
            torch.set_anomaly_enabled(True, False)
            self._sources_on = True

    def _disarm(self) -> None:
        self._spies.remove()
        self._sources_off()

    def _sources_off(self) -> None:
        # with check_nan on, the program has switched anomaly mode on by itself meanwhile
        if self._sources_on and not torch.is_anomaly_check_nan_enabled():
            torch.set_anomaly_enabled(False)
        self._sources_on = False

    def _failed(self, what: str, error: Exception) -> None:
        if what not in self._failed_once:
            self._failed_once.add(what)
            warn_once(what, error)

    # -- a backward pass -------------------------------------------------------------------

    def _run_backward(
        self, original: Callable[..., None], args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> None:
        if self._nested or threading.get_ident() != self._thread:
            original(*args, **kwargs)
            return
        started = time.perf_counter()
        entry, tape = self._open_entry(args, kwargs)
        ours = time.perf_counter() - started
        self._nested = True
        try:
            original(*args, **kwargs)
        finally:
            self._nested = False
            if tape is not None or (entry is not None and self._sampling):
                started = time.perf_counter()
                self._close_entry(entry, tape)
                ours += time.perf_counter() - started
            if entry is not None:
                entry.ours = ours

    def _open_entry(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[Entry | None, Tape | None]:
        tape: Tape | None = None
        try:
            if self._stepped:
                self._entries.clear()
                self._stepped = False
            roots = _roots(args, kwargs)
            entry = Entry(_loss_of(roots, args, kwargs))
            if self._sampling and self._tape_on and roots:
                read_sources = torch.is_anomaly_enabled()
                self._sources_off()
                if self._wants_tape():
                    tape = Tape(
                        roots,
                        spans=self._spies.spans,
                        calls=tuple(self._spies.calls),
                        read_sources=read_sources,
                        statistics=self._statistics,
                        failed=self._failed,
                    )
                    tape.record.loss = entry.loss
                    entry.record = tape.record
            if len(self._entries) < _MOST_ENTRIES:
                self._entries.append(entry)
            else:
                self._entries[-1] = entry
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._failed("reading the backward pass", error)
            return None, tape
        return entry, tape

    def _wants_tape(self) -> bool:
        """Read each optimizer's first backward pass of a step; micro-batches repeat it."""
        read = [entry.record for entry in self._entries if entry.record is not None]
        return not read or self._several or not self.trainings

    def _close_entry(self, entry: Entry | None, tape: Tape | None) -> None:
        try:
            read: frozenset[int] = frozenset()
            if tape is not None:
                tape.close()
                self._spies.forget()
                read = frozenset(id(p) for p in tape.record.parameters)
            # what the tape did not read (other micro-batches, opaque regions) shows in `.grad`
            if entry is not None:
                entry.gradients = see_gradients(
                    parameter
                    for training in self.trainings
                    for parameter in training.live_parameters()
                    if id(parameter) not in read
                )
        except Exception as error:  # noqa: BLE001
            self._failed("closing the tape", error)

    # -- an optimizer step -----------------------------------------------------------------

    def _before_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        try:
            training = self._training_of(optimizer)
            if training is not None:
                self._turns.take(training)
                training.before(optimizer, self._entries_of(optimizer, training))
        except Exception as error:  # noqa: BLE001
            self._failed("looking at the optimizer before its step", error)

    def _after_step(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        try:
            training = self._training_of(optimizer)
            self._stepped = True
            if training is None:
                self._others = self._several = True
                return
            training.after(optimizer, self._entries_of(optimizer, training))
            awake = [each for each in self.trainings if self._turns.awake(each)]
            self._several = self._others or len(awake) > 1
            self._sampling = any(each.due for each in awake)
            if self._sampling:
                self._sources_wanted = any(each.wants_sources for each in awake)
                self._arm()
            elif self._spies.installed:
                self._disarm()
        except Exception as error:  # noqa: BLE001
            self._failed("looking at the optimizer after its step", error)

    def _training_of(self, optimizer: Optimizer) -> Training | None:
        if self._only is not None and optimizer is not self._only:
            return None
        known = self._of_optimizer.get(optimizer)
        if known is not None:
            return known
        # an optimizer made anew over the same parameters goes on with the same training
        parameters = frozenset(id(p) for p in trainable(optimizer))
        known = self._of_parameters.get(parameters)
        if known is None or not known.continues(parameters):
            if len(self.trainings) >= _MOST_TRAININGS:
                return None
            number = len(self.trainings)
            folder = self._folder / str(number) if self._folder is not None else None
            known = Training(
                optimizer,
                cadence=Cadence(budget=self._budget, every=self._every),
                recorder=Recorder(folder, self._sinks),
                script=self._script,
                model=self._model,
            )
            self.trainings.append(known)
            self._sources_wanted = True
            self._of_parameters[parameters] = known
        self._of_optimizer[optimizer] = known
        return known

    def _entries_of(self, optimizer: Optimizer, training: Training) -> list[Entry]:
        """Return the waiting backward passes that are this optimizer's."""
        taker = id(optimizer)
        waiting = [entry for entry in self._entries if taker not in entry.taken_by]
        for entry in waiting:
            entry.taken_by.append(taker)
        first = all(entry.record is not None for entry in waiting)  # every pass was read
        if waiting and (self._several or first):
            return self._turns.share(training, waiting, trainable(optimizer))
        return waiting

    # -- the end ---------------------------------------------------------------------------

    def finish(
        self,
        learn: Callable[[Training, ExampleBook], tuple[float, float] | None],
        *,
        interrupted: bool,
    ) -> None:
        """Write what is left of every training."""
        for training in self.trainings:
            training.interrupted = interrupted
            training.finish(lambda book, t=training: learn(t, book))  # type: ignore[misc]


def _by_node() -> dict[str, list[AbstractStatistic]]:
    """Return the statistics by the base name of the nodes that they apply to."""
    out: dict[str, list[AbstractStatistic]] = {}
    for statistic in collect("gradfuga.stats", "STATISTIC", of=AbstractStatistic).values():  # type: ignore[type-abstract]
        for node in statistic.nodes:
            out.setdefault(node, []).append(statistic)
    return out


def _roots(args: tuple[object, ...], kwargs: Mapping[str, object]) -> list[Tensor]:
    given = args[0] if args else kwargs.get("tensors")
    if isinstance(given, Tensor):
        return [given] if given.grad_fn is not None else []
    if isinstance(given, list | tuple):
        return [each for each in given if isinstance(each, Tensor) and each.grad_fn is not None]
    return []


def _loss_of(
    roots: Sequence[Tensor], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> Measured | None:
    """Return the loss: the sum of the scalars that backward starts from, None for others."""
    if not roots or any(root.numel() != 1 for root in roots):
        return None
    if roots[0].is_cpu:
        return float(sum(root.item() for root in roots))
    return torch.stack([root.detach().reshape(()) for root in roots]).sum()

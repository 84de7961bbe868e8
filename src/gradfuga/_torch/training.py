"""One training: an optimizer, the model it moves, and what was recorded of both."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from torch import Tensor, nn

from .._types import Kind
from ..readings import Readings, RunRecord
from .cadence import Cadence
from .collective import AGREED_EVERY, Team, trained_together
from .joined import AnyOptimizer, name_of, settings_of
from .naming import Names, names_of
from .norms import Measured
from .parameter_records import ParameterRecords
from .parameter_rows import ParameterRows, Tier, measure_tier
from .parameters import Before, SeenGradient, before_step, given_norms, kept, trainable
from .parts import Parts
from .passes import Entry, loss_of_step, record_of_step, seen_gradients
from .recorder import Recorder
from .scaling import Scaled, unscaled
from .tape import TapeRecord
from .tape_rows import TapeRows

_CHECKED_VERSIONS = 8  # samples at which gradients of the same version are measured again
_SOURCE_TRIES = 3
_SELDOM = 64  # steps after which what is pending is brought in, without a sample
_PARAMETERS, _TAPE = "the reading of parameters", "the reading of the tape"
_MOVED = 3.0  # a loss this many spreads above its recent level asks for denser samples


@final
class Training:
    """Everything that is known of one optimizer's training.

    Args:
        optimizer: held weakly.
        cadence: when to sample.
        recorder: where values go.
        script: name of the script, for the record.
        model: the root module where the user gave it.
        parts: of the observer that still work.
    """

    def __init__(
        self,
        optimizer: AnyOptimizer,
        *,
        cadence: Cadence,
        recorder: Recorder,
        script: str = "",
        model: nn.Module | None = None,
        parts: Parts,
    ) -> None:
        self._parts = parts
        self.cadence = cadence
        self.recorder = recorder
        self.steps = 0
        self.interrupted = False
        self._source_tries = 0
        self.due = cadence.due(0)  # whether the next step is to be sampled
        self._optimizer = weakref.ref(optimizer)
        self._held = tuple(weakref.ref(p) for p in trainable(optimizer))
        self._name = name_of(optimizer)
        self._script = script
        self._model = weakref.ref(model) if model is not None else None
        self._names: Names | None = None
        self._team: Team | None = None  # the other processes, where several train one model
        self.tapes = TapeRows(recorder, parts)
        self._parameters = ParameterRecords()
        self._sampled: list[int] = []
        self._settings: dict[str, float] = {}
        self._rows = ParameterRows(recorder)
        self._before: Before | None = None
        self._scaled: Scaled | None = None
        self._skips: Measured = 0.0  # steps that a gradient scaler has skipped so far
        self._spare: tuple[Tensor, ...] = ()
        self._entries: list[Entry] = []
        self._pre_seconds = 0.0
        self._versions_tell = True  # whether a changed gradient shows in its version
        self._last_end: float | None = None
        self._level: tuple[float, float] | None = None

    def live_parameters(self) -> tuple[Tensor, ...]:
        """Return the optimizer's trainable parameters, none if it is gone."""
        optimizer = self._optimizer()
        return trainable(optimizer) if optimizer is not None else ()

    @property
    def wants_glimpse(self) -> bool:
        """Whether the targets of the coming step are worth a look, and known how to be read."""
        return self.tapes.losses.wants_glimpse(self.steps) and self.cadence.affords_glimpse

    @property
    def wants_sources(self) -> bool:
        """Whether source lines are still worth anomaly mode; without a gradient there are none."""
        return not self.tapes.knows_sources and self._source_tries < _SOURCE_TRIES

    def continues(self, parameters: frozenset[int]) -> bool:
        """Whether these are the very parameters of this training, not new ones at old addresses."""
        alive = {id(p) for p in (reference() for reference in self._held) if p is not None}
        return alive == parameters

    def before(
        self, optimizer: AnyOptimizer, entries: Sequence[Entry], scaled: Scaled | None = None
    ) -> None:
        """The optimizer is about to step.

        Args:
            optimizer: it.
            entries: its backward passes since its last step.
            scaled: what a gradient scaler does to the step.
        """
        started = time.perf_counter()
        self._entries, self._scaled = list(entries), scaled
        if scaled is not None:
            self._skips = self._skips + scaled.skipped
        if self.due:
            self._before = self._look_before(trainable(optimizer), seen_gradients(entries))
        self._pre_seconds = time.perf_counter() - started

    def closure_ended(self, entries: Sequence[Entry]) -> None:
        """The step's closure has run for the first time; `entries` are its backward passes.

        Only now are the gradients those of this step, clipped where the closure clips.
        """
        started = time.perf_counter()
        self._entries.extend(entries)
        if self._before is not None:
            gradient = given_norms(self._before.parameters, seen_gradients(self._entries))
            self._before = replace(self._before, gradient=gradient)
        self._pre_seconds += time.perf_counter() - started

    def stepped(
        self, optimizer: AnyOptimizer, entries: Sequence[Entry], before: Before | None
    ) -> None:
        """A step that nobody announced is over: of hooks inside a backward pass, or by hand."""
        self._entries, self._scaled, self._pre_seconds = list(entries), None, 0.0
        self._before = before
        self.after(optimizer, ())

    def _look_before(
        self, parameters: Sequence[Tensor], seen: Mapping[int, SeenGradient]
    ) -> Before:
        """Copy the weights and measure the gradients, the unchanged ones only now and then.

        A gradient changed through `.data` (`p.grad.data.clamp_(-1, 1)`) keeps its version: until
        that is ruled out, and now and then later, all are measured.
        """
        samples = len(self._sampled)
        if self._versions_tell and samples >= _CHECKED_VERSIONS and samples % _CHECKED_VERSIONS:
            return self._unscaled(before_step(parameters, seen, self._spare))
        before = before_step(parameters, {}, self._spare)
        for parameter, norm in zip(parameters, before.gradient, strict=True):
            known, gradient = seen.get(id(parameter)), parameter.grad
            if known is None or gradient is None or not known.is_still(gradient):
                continue
            if isinstance(norm, float) and norm == norm and norm != known.norm:  # noqa: PLR0124
                self._versions_tell = False
        return self._unscaled(before)

    def _unscaled(self, before: Before) -> Before:
        """Take off what a fused optimizer will divide the gradients that it is given by."""
        if self._scaled is None:
            return before
        given = self._scaled.given
        gradient = (None if norm is None else norm / given for norm in before.gradient)
        return replace(before, gradient=tuple(gradient))

    def after(self, optimizer: AnyOptimizer, late: Sequence[Entry]) -> None:
        """The optimizer has stepped; `late` are backward passes inside the step (closures)."""
        started = time.perf_counter()
        entries = self._entries or list(late[:1])
        step, sampled = self.steps, self._before is not None
        loss = loss_of_step(entries)
        if loss is not None:
            loss = unscaled(loss, self._scaled)
            self._take_loss(step, loss, entries)
        seen = [entry.glimpsed for entry in entries if entry.glimpsed is not None]
        glimpsed = self.tapes.losses.write_glimpse(step, seen, self._scaled) if seen else 0.0
        if self._before is not None:
            self._optimizer = weakref.ref(optimizer)
            if self._parts.work(_PARAMETERS):
                try:
                    self._sample(step, optimizer, entries, self._before)
                except Exception as error:  # noqa: BLE001
                    self._parts.fail(_PARAMETERS, error)
            self._source_tries += 1
            self._sampled.append(step)
            self._sampled = self.recorder.thin(self._sampled)
        if self._names is not None and any([entry.broken is not None for entry in entries]):  # noqa: C419 (three times as fast)
            self.tapes.write_breaks(step, [entry.broken for entry in entries], self._names)
        if self._team is not None and not sampled and step % AGREED_EVERY == 0:
            self._agree(step)
        if sampled or step % _SELDOM == 0:
            self.recorder.collect()
        if loss is not None and isinstance(loss, float):
            self._watch_level(step, loss)
        self._before, self._entries = None, []
        started -= self._pre_seconds + sum([entry.ours for entry in entries])
        self._end_step(started, sampled=sampled, glimpsed=glimpsed)

    @property
    def takes_plain_steps(self) -> bool:
        """Whether nothing but the loss has to be known of the coming step."""
        return not self.due and self._team is None

    def after_plain_step(self, loss: float, ours: float) -> None:
        """The optimizer has made a step that is not sampled, after one backward pass.

        Args:
            loss: that the pass has started from.
            ours: the seconds that our own code took before the step.
        """
        started = time.perf_counter() - ours
        step = self.steps
        self.recorder.loss(step, loss)
        if step % _SELDOM == 0:
            self.recorder.collect()
        self._watch_level(step, loss)
        self._end_step(started, sampled=False)

    def _end_step(self, started: float, *, sampled: bool, glimpsed: float = 0.0) -> None:
        """Count the step; settle whether the next one is sampled.

        Args:
            started: when our own code of this step began, had it run in one go.
            sampled: whether the step was.
            glimpsed: the part of our time that a glimpse took.
        """
        step, now = self.steps, time.perf_counter()
        self.steps += 1
        ours = now - started
        seconds = now - self._last_end if self._last_end is not None else ours
        self.cadence.note(step, seconds=seconds, ours=ours, sampled=sampled, glimpsed=glimpsed)
        self._last_end = now
        team = self._team if self._team is not None and self._team.decides else None
        self.due = (team or self.cadence).due(self.steps)
        if sampled or step % _SELDOM == 0:
            self._flush()

    # -- several processes -----------------------------------------------------------------

    def _take_loss(self, step: int, loss: Measured, entries: Sequence[Entry]) -> None:
        """Record a loss, or keep it until those of the other processes are known."""
        if self._team is None and self._before is not None and not self._sampled:
            records = [entry.record for entry in entries if entry.record is not None]
            called = [call.module for record in records for call in record.calls]
            if trained_together(self._before.parameters, called):
                self._team = Team(self._before.parameters, parts=self._parts)
        if self._team is not None:
            self._team.hold(step, loss)
        else:
            self.recorder.loss(step, loss)

    def _agree(self, step: int, tier: Tier | None = None) -> Tier | None:
        """Exchange what was measured; return the parameters as wholes, None where unknown."""
        team = self._team
        assert team is not None
        until = (step // AGREED_EVERY + 1) * AGREED_EVERY
        agreed = team.agree(self.cadence.next_due(step, until=until), tier)
        for earlier, loss in agreed.losses if agreed is not None else team.left():
            self.recorder.loss(earlier, loss)
        if agreed is not None:
            return agreed.tier
        return None if team.sharded else tier

    def _watch_level(self, step: int, loss: float) -> None:
        """Ask for denser samples where the loss leaves its recent level."""
        if loss != loss:  # noqa: PLR0124 (NaN)
            self.cadence.stir(step)
            return
        level, spread = self._level or (loss, 0.0)
        if spread > 0.0 and loss - level > _MOVED * spread and step > 20:  # noqa: PLR2004
            self.cadence.stir(step)
        self._level = (0.9 * level + 0.1 * loss, 0.9 * spread + 0.1 * abs(loss - level))

    # -- one sampled step ------------------------------------------------------------------

    def _sample(
        self, step: int, optimizer: AnyOptimizer, entries: Sequence[Entry], before: Before
    ) -> None:
        self._settings = settings_of(optimizer)
        record = record_of_step(entries)
        if record is not None and self._parts.work(_TAPE):
            try:
                names = self._name_parameters(before.parameters, record)
                self.tapes.write(step, record, names, self._scaled)
                self._parameters.reach(record.parameters)
            except Exception as error:  # noqa: BLE001
                self._parts.fail(_TAPE, error)
        names = self._name_parameters(before.parameters, record)
        samples = len(self._sampled)
        now_and_then = samples & (samples - 1) == 0  # what rarely changes
        if now_and_then:
            self._parameters.describe(optimizer, names)
        self._write_parameters(step, optimizer, names, entries, before, record)
        if now_and_then and self._team is None:
            self._rows.write_alike(step, before.parameters)

    def _name_parameters(self, parameters: Sequence[Tensor], record: TapeRecord | None) -> Names:
        known = self._names
        if known is None or any(id(p) not in known.parameters for p in parameters):
            given = self._model() if self._model is not None else None
            called = () if record is None else (call.module for call in record.calls)
            candidates: Iterable[tuple[str, nn.Module]] = (
                [("", given)] if given is not None else [("", module) for module in called]
            )
            self._names = known = names_of(parameters, candidates, frames=given is None)
        return known

    def _write_parameters(
        self,
        step: int,
        optimizer: AnyOptimizer,
        names: Names,
        entries: Sequence[Entry],
        before: Before,
        record: TapeRecord | None,
    ) -> None:
        add, scaled = self.recorder.add, self._scaled
        seen = seen_gradients(entries)
        # of its own parameters only: a generator's pass also reaches its discriminator's
        stale = record.stale if record is not None else {}
        tier: Tier | None = measure_tier(optimizer, before, seen, stale, scaled)
        self._spare = kept(before.weights)
        if self._team is not None:
            tier = self._agree(step, tier)
        if tier is not None:
            self._rows.write(step, before, names, tier)
            self._parameters.note(names, before.parameters, tier.unclipped, seen)
            clipped, aged = bool(self._entries), record is not None
            self._rows.write_ratios(step, tier, clipped=clipped, aged=aged)
        if "lr" in self._settings:
            add(step, "optimizer", Kind.UPDATE, "learning_rate", self._settings["lr"])
        if scaled is not None:
            add(step, "optimizer", Kind.WEIGHT_GRAD, "loss_scale", scaled.scale)
            add(step, "optimizer", Kind.UPDATE, "skipped_steps", self._skips)

    # -- what came of it -------------------------------------------------------------------

    def record(self) -> RunRecord:
        """Return what is known of the run besides its readings."""
        return RunRecord(
            script=self._script,
            model=self._names.model if self._names is not None else "",
            optimizer=self._name,
            settings=dict(self._settings),
            parameters=self._parameters.records(self.tapes.opened),
            steps=self.steps,
            sampled=tuple(self._sampled),
            overhead=self.cadence.overhead,
            startup_seconds=self.cadence.startup_seconds,
            step_seconds=self.cadence.step_seconds,
            interrupted=self.interrupted,
            warnings=(*self._parts.failures, *self.recorder.failures),
        )

    def readings(self) -> Readings:
        """Return everything that memory holds of this training."""
        return self.recorder.readings(self.tapes.graph, self.record())

    def finish(self, learn: Callable[[Training], Mapping[str, float]]) -> None:
        """The observation ends: write what there is, then what the task is found to permit."""
        for step, loss in self._team.left() if self._team is not None else ():
            self.recorder.loss(step, loss)
        self.recorder.collect()
        self._flush(force=True)  # a process that is being ended may not come to the rest
        try:
            learned = learn(self)
        except Exception as error:  # noqa: BLE001
            self._parts.fail("the reference learner", error)
            learned = {}
        last = self._sampled[-1] if self._sampled else 0
        for name, value in learned.items():
            self.recorder.add(last, "loss", Kind.LOSS, name, value)
        if learned:
            self.recorder.collect()
            self._flush(force=True)

    def _flush(self, *, force: bool = False) -> None:
        self.recorder.flush(lambda: (self.tapes.graph, self.record()), force=force)

    @property
    def folder(self) -> Path | None:
        """Where this training is recorded, None where it is only in memory."""
        return self.recorder.folder

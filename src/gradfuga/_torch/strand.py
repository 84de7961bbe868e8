"""One thread's trainings: what it runs forward, backward, and which optimizers it steps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import final

from torch import nn
from torch.optim import Optimizer

from .._contracts import AbstractStatistic
from .closures import StepArguments, with_closure_seen
from .compile_seam import CompiledCall
from .first_nan import BreakSearch
from .forward import Forward
from .glimpse import glimpse_apart
from .hand_steps import HandSteps
from .handed import Wanted
from .inside_steps import InsideSteps
from .joined import AnyOptimizer
from .parameters import Before, SeenGradient, see_gradients, trainable
from .parts import Parts
from .passes import Entry, are_empty, read_since, still_standing
from .plain_step import PlainStep
from .roll import Roll
from .roots import is_weighted, loss_of, retains, roots_of
from .scaling import Scaled
from .tape import Tape
from .time_probe import TimeProbe
from .training import Training
from .turns import Turns
from .waiting import Waiting

_BACKWARD, _STEPS = "the reading of backward passes", "the reading of optimizer steps"


@final
class Strand:
    """Follows one thread from its forward passes to its optimizer steps.

    Args:
        thread: its identity.
        roll: of the process's trainings.
        tape: whether the tape is read on sampled steps, or only the parameters.
        statistics: by the base name of the nodes they apply to.
        parts: of the observer that still work.
    """

    def __init__(
        self,
        thread: int,
        roll: Roll,
        *,
        tape: bool,
        statistics: Mapping[str, Sequence[AbstractStatistic]],
        parts: Parts,
    ) -> None:
        self._thread = thread
        self._roll = roll
        self._tape_on = tape
        self._statistics = statistics
        self._parts = parts
        self._mine: list[Training] = []  # those whose optimizers have stepped in this thread
        self._forward = Forward(thread, parts)
        self._tapes = math.inf  # that the last sampled step has read
        self._waiting = Waiting()
        self._turns = Turns()
        self._time = TimeProbe(parts)
        self._breaks = BreakSearch(parts)
        self._several = False  # whether more than one optimizer steps now, observed or not
        self._alone: Training | None = None  # the one whose optimizer steps now, where it is one
        self._others = False  # whether one steps that is not observed
        self.in_backward = False
        self._inside = InsideSteps()
        self._plain = PlainStep()
        self._hand = HandSteps(open=roll.takes_all)  # of a script without an optimizer
        self._sampling = True  # whether the coming step is sampled; settled after each step
        self._sources_wanted = True

    # -- a forward pass --------------------------------------------------------------------

    @property
    def trains(self) -> bool:
        """Whether anything is trained in this thread."""
        return bool(self._mine or self._waiting.entries)

    def arm(self) -> None:
        """See the next step's forward pass, if it is sampled."""
        if self._tape_on and self._sampling:
            self._forward.arm(sources=self._sources_wanted)

    def leave_outside(self) -> None:
        """Hooks of ours on the program's modules are in its way."""
        self._forward.leave_outside()

    def call_layer(
        self, layer: nn.Module, run: Callable[[], object], args: Sequence[object]
    ) -> object:
        """Run a layer's call that torch's own hooks do not see."""
        return run() if self.in_backward else self._forward.call_layer(layer, run, args)

    def call_compiled(self, call: CompiledCall, *, alone: bool) -> object:
        """Make the call of a compiled module."""
        # later micro-batches repeat the first one, whose tape is read
        first = self._waiting.stepped or len(read_since(self._waiting.entries)) < self._tapes
        return self._forward.call_compiled(call, again=alone and first and not self.in_backward)

    def end(self) -> None:
        """The observation ends: take the forward hooks away, forget what is pending."""
        self._step_by_hand()
        self._forward.disarm()
        self._plain.given_up()
        self._waiting.entries.clear()

    # -- a backward pass -------------------------------------------------------------------

    def run(
        self,
        original: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        wanted: Wanted | None = None,
    ) -> object:
        """Run the program's backward pass, or `torch.autograd.grad` with what is `wanted`."""
        ours_or_nested = self.in_backward or self._forward.compiled.inside
        if ours_or_nested or threading.get_ident() != self._thread:
            return original(*args, **kwargs)
        if wanted is None and self._plain.takes(args):
            return self._run_plainly(partial(original, *args, **kwargs))
        started = time.perf_counter()
        self._go_the_long_way()
        if self._hand.open:
            self._step_by_hand()
        entry, tape = self._open_entry(args, kwargs, wanted)
        ours = time.perf_counter() - started
        self.in_backward = True
        result: object = None
        try:
            result = original(*args, **kwargs)
        finally:
            self.in_backward = False
            if tape is not None or (entry is not None and (self._sampling or wanted is not None)):
                started = time.perf_counter()
                self._close_entry(entry, tape, result, retain=retains(args, kwargs))
                ours += time.perf_counter() - started
            elif self._hand.open:
                self._look_by_hand(None)
            if entry is not None:
                entry.ours = ours + self._forward.compiled.take_seconds()
                if self._inside.any:
                    self._step_unannounced(self._inside.optimizer, [entry], self._inside.end())
        return result

    def _run_plainly(self, original: Callable[[], object]) -> object:
        self.in_backward = True
        try:
            return original()
        finally:
            self.in_backward = False
            if self._inside.any:
                self._go_the_long_way()
                waiting = self._waiting.entries[-1:]
                self._step_unannounced(self._inside.optimizer, waiting, self._inside.end())

    def _go_the_long_way(self) -> None:
        """The coming step is not as plain as it seemed."""
        entry = self._plain.given_up()
        if entry is not None:
            self._waiting.open()
            self._waiting.add(entry)

    def _open_entry(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], wanted: Wanted | None
    ) -> tuple[Entry | None, Tape | None]:
        tape: Tape | None = None
        try:
            self._waiting.open()
            roots = roots_of(args, kwargs) if wanted is None else wanted.roots
            entry = Entry(
                loss_of(roots), self._waiting.site(roots, sampled=self._sampling), wanted=wanted
            )
            entry.broken = self._breaks.seek(roots, entry.loss)
            if self._waiting.entries:
                entry.begins = frozenset(
                    id(each) for each in self._mine if are_empty(each.live_parameters())
                )
            if self._sampling and self._tape_on and roots and self._parts.work(_BACKWARD):
                read_sources = self._forward.take_sources()
                if self._wants_tape(entry):
                    # one forward pass may serve several backward passes
                    earlier, spies = read_since(self._waiting.entries), self._forward.spies
                    tape = Tape(
                        roots,
                        spans=[*(s for r in earlier for s in r.spans), *spies.spans],
                        calls=[*(c for r in earlier for c in r.calls), *spies.calls],
                        recurrent=tuple(spies.recurrent),
                        read_sources=read_sources,
                        statistics=self._statistics,
                        parts=self._parts,
                        walk=self._forward.compiled.walk,
                    )
                    tape.record.loss = entry.loss
                    entry.record = tape.record
                    tape.record.curves = self._time.measure(
                        tape.record.walk,
                        spies.recurrent,
                        tape.chains,
                        packed=spies.packs,
                        bare_seconds=max((t.cadence.step_seconds for t in self._mine), default=0.0),
                    )
            elif (
                self._alone is not None
                and not self._waiting.entries
                and self._alone.wants_glimpse
                and (wanted is not None or not is_weighted(args, kwargs))
            ):
                entry.glimpsed = glimpse_apart(roots, entry.loss, self._parts)
            self._waiting.add(entry)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_BACKWARD, error)
            return None, tape
        return entry, tape

    def _wants_tape(self, entry: Entry) -> bool:
        """Read the parts of a step's loss once each; micro-batches repeat them."""
        read = {each.site for each in self._waiting.entries if each.record is not None}
        again = entry.site in read and not entry.begins
        return not again or self._several or not self._mine

    def _close_entry(
        self, entry: Entry | None, tape: Tape | None, result: object, *, retain: bool
    ) -> None:
        try:
            self._forward.compiled.run_back(retain=retain, read=tape is not None)
            read: frozenset[int] = frozenset()
            wanted = entry.wanted if entry is not None else None
            given = wanted.answered(result, measured=self._sampling) if wanted is not None else None
            if tape is not None:
                tape.close(given)
                self._forward.spies.forget()
                read = frozenset(id(p) for p in tape.record.parameters)
            # what the tape did not read (other micro-batches, opaque regions) shows in `.grad`
            if entry is not None:
                entry.gradients = given if given is not None else self._left(read)
                if self._hand.open:
                    self._look_by_hand(tape, given or {})
        except Exception as error:  # noqa: BLE001
            self._parts.fail(_BACKWARD, error)

    def _left(self, read: Collection[int]) -> dict[int, SeenGradient]:
        """Return the gradients that a pass has left, of the parameters that are not `read`."""
        live = (p for training in self._mine for p in training.live_parameters())
        return see_gradients([p for p in live if id(p) not in read], with_peaks=self._tape_on)

    # -- an optimizer step -----------------------------------------------------------------

    def before_step(
        self,
        optimizer: AnyOptimizer,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        scaled: Scaled | None,
    ) -> StepArguments | None:
        """An optimizer is about to step; return its arguments where they are to be others."""
        try:
            self._hand.close()
            training = self._training_of(optimizer)
            if self._plain.loss is not None and not self.in_backward:
                if training is self._plain.training and scaled is None:
                    return None
                self._go_the_long_way()
            if self.in_backward and isinstance(optimizer, Optimizer):
                if self._roll.observed(optimizer):
                    self._inside.take(optimizer, due=self._sampling)
            elif training is not None:
                self._plain.training = None
                self._turns.take(training)
                entries = self._entries_of(optimizer, training)
                training.before(optimizer, still_standing(entries, id(training)), scaled)
                if training.due:
                    ended = partial(self._closure_ended, optimizer, training)
                    return with_closure_seen(args, kwargs, ended)
        except Exception as error:  # noqa: BLE001
            self._parts.fail(_STEPS, error)
        return None

    def after_step(self, optimizer: AnyOptimizer) -> None:
        """An optimizer has stepped."""
        if self.in_backward:
            return
        try:
            self._waiting.stepped = True
            if self._plain.loss is not None:
                if self._plain.end().due:
                    self._settle()
                return
            training = self._training_of(optimizer)
            if training is None:
                self._others = self._several = True
                return
            late = self._waiting.has_late
            training.after(optimizer, self._entries_of(optimizer, training) if late else ())
            self._settle()
        except Exception as error:  # noqa: BLE001
            self._parts.fail(_STEPS, error)

    def _settle(self) -> None:
        """Settle whether the coming step is sampled."""
        awake = [each for each in self._mine if self._turns.awake(each)]
        self._several = self._others or len(awake) > 1
        self._alone = awake[0] if len(awake) == 1 and not self._others else None
        if self._sampling:
            self._tapes = max(1, len(read_since(self._waiting.entries)))
        self._sampling = any(each.due for each in awake)
        if self._sampling:
            self._sources_wanted = any(each.wants_sources for each in awake)
            self.arm()
        else:
            self._forward.disarm()
        plain = self._alone is not None and len(self._mine) == 1 and self._alone.takes_plain_steps
        self._plain.training = self._alone if plain and not self._hand.open else None

    def _closure_ended(self, optimizer: AnyOptimizer, training: Training) -> None:
        try:
            training.closure_ended(self._entries_of(optimizer, training))
        except Exception as error:  # noqa: BLE001
            self._parts.fail(_STEPS, error)

    def _training_of(self, optimizer: AnyOptimizer) -> Training | None:
        if not self._roll.observed(optimizer) or self.in_backward:
            return None
        training = self._roll.of(optimizer)
        self._follow(training)
        return training

    def _follow(self, training: Training | None) -> None:
        if training is not None and training not in self._mine:
            self._mine.append(training)
            self._sources_wanted = True

    def _entries_of(self, optimizer: AnyOptimizer, training: Training) -> list[Entry]:
        """Return the waiting backward passes that are this optimizer's."""
        waiting = self._waiting.take(id(optimizer))
        read = all([entry.record is not None for entry in waiting])  # noqa: C419 (twice as fast)
        # whether another optimizer takes some of them is not known before the first step
        if waiting and (self._several or (read and (len(waiting) == 1 or training.steps == 0))):
            return self._turns.share(training, waiting, trainable(optimizer))
        return waiting

    # -- a script without an optimizer -----------------------------------------------------

    def _look_by_hand(
        self, tape: Tape | None, given: Mapping[int, SeenGradient] = MappingProxyType({})
    ) -> None:
        """After a pass: remember the weights, to see whether the script moves them."""
        try:
            read = () if tape is None else read_since(self._waiting.entries)
            self._hand.look(read, given, due=self._sampling)
        except Exception as error:  # noqa: BLE001
            self._hand.close()
            self._parts.fail(_STEPS, error)

    def _step_by_hand(self) -> None:
        """Before the next pass: see whether the script has moved the weights since the last."""
        if not self._hand.open or not self._waiting.entries:
            return
        try:
            step = self._hand.take()
        except Exception as error:  # noqa: BLE001
            self._hand.close()
            self._parts.fail(_STEPS, error)
            return
        if step is not None:
            # of gradients that were asked for, the last are those that it was moved by
            asked = [entry for entry in self._waiting.entries if entry.wanted is not None]
            waiting = [entry for entry in self._waiting.entries if entry not in asked[:-1]]
            self._step_unannounced(step[0], waiting, step[1])

    def _step_unannounced(
        self, optimizer: AnyOptimizer, waiting: Sequence[Entry], before: Before | None
    ) -> None:
        """A step has been made that no hook has told of: by hand, or inside a backward pass."""
        try:
            self._waiting.stepped = True
            training = self._roll.of(optimizer)
            if training is None:
                return
            self._follow(training)
            self._turns.take(training)
            entries = still_standing(waiting, id(training))
            training.stepped(optimizer, entries, before if training.due else None)
            self._settle()
        except Exception as error:  # noqa: BLE001
            self._parts.fail(_STEPS, error)

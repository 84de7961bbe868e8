"""Observe a program while it runs, and diagnose it once when it ends."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from .._messages import _, language
from .._torch.launch import Program, launch
from .._torch.launch_exit import exit_told
from .._torch.launch_signals import next_signal_kills, termination_told
from ._delivery import Delivery, described
from ._places import is_first_process, is_one_of_several, keep_out_of_git
from ._voice import say, terminal, warn

if TYPE_CHECKING:
    from .._observe import Observer
    from .._types import Diagnosis
    from ..readings import Readings


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to sample: every so many steps, or as often as the budget allows."""

    every: int | None
    budget: float


def run_watched(
    program: Program,
    *,
    cadence: Cadence,
    folder: Path | None,
    delivery: Delivery,
    lang: str,
    lag: int | None = None,
) -> None:
    """Run `program` observed, hand out the diagnosis, and leave as the program would have left."""
    watch = _Watch(program, cadence=cadence, folder=folder, delivery=delivery, lang=lang, lag=lag)
    with termination_told(watch.interrupted):  # also between the program's end and ours
        with exit_told(watch.left):
            outcome = launch(program, torch_imported=watch.attach, terminated=watch.interrupted)
        with next_signal_kills(but_one=is_one_of_several()):
            diagnosis = watch.conclude(interrupted=outcome.interrupted, failed=outcome.failed)
    if diagnosis is not None and not outcome.failed:
        code = delivery.exit_code(diagnosis)
        if code:
            raise SystemExit(code)
    outcome.leave()


@final
class _Watch:
    """The observer of one program, from the import of torch to the diagnosis."""

    def __init__(
        self,
        program: Program,
        *,
        cadence: Cadence,
        folder: Path | None,
        delivery: Delivery,
        lang: str,
        lag: int | None = None,
    ) -> None:
        self._lag = lag
        self._program = program
        self._cadence = cadence
        self._folder = folder
        self._delivery = delivery
        self._lang = lang
        self._observer: Observer | None = None
        self._torch_seen = False
        self._concluded = False

    def attach(self) -> None:
        """Begin to observe; a failure costs the diagnosis, never the program."""
        self._torch_seen = True
        try:
            from .._observe import observe

            observer = observe(
                every=self._cadence.every,
                budget=self._cadence.budget,
                out=self._folder,
                script=self._program.target,
            )
            observer.__enter__()
        except Exception as error:  # noqa: BLE001 (whatever it is, the script goes on)
            with language(self._lang):
                warn(
                    _("The script runs unobserved, the observer failed: {error}").format(
                        error=described(error)
                    )
                )
            return
        self._observer = observer
        if sys.platform != "win32":
            # Only this process is observed: a forked child would write into the same folder.
            os.register_at_fork(after_in_child=observer.abandon)
        if self._folder is None and is_first_process():
            with language(self._lang):
                warn(_("No folder can be made here: what is seen stays in memory (see --out)."))

    def interrupted(self) -> None:
        """Conclude because the process is about to be killed."""
        self.conclude(interrupted=True)

    def left(self) -> None:
        """Conclude because the process is about to leave by `os._exit`.

        A thread that ends the others by it, as watchdogs do, is not kept waiting by a diagnosis.
        """
        if threading.current_thread() is threading.main_thread():
            with next_signal_kills():
                self.conclude(interrupted=False, flush=False)
        elif self._observer is not None and not self._concluded:
            self._concluded = True
            with suppress(Exception):
                self._stop(self._observer, interrupted=True)
            if is_first_process():
                with language(self._lang):
                    self._tell_folder()

    def conclude(
        self, *, interrupted: bool, failed: bool = False, flush: bool = True
    ) -> Diagnosis | None:
        """Stop observing, diagnose, and hand the diagnosis out, the first time it is called.

        Args:
            interrupted: whether something else than the program's end ends it.
            failed: whether the program ended by itself, and not well.
            flush: write out what the program has printed before; without us it would be, too.
        """
        if self._concluded:
            return None
        self._concluded = True
        if not is_first_process():
            if self._observer is not None:
                with suppress(Exception):  # the first process tells
                    self._stop(self._observer, interrupted=interrupted)
            return None
        if flush and not interrupted:
            with suppress(Exception):  # a broken pipe is the interpreter's to report, at its end
                sys.stdout.flush()
        with language(self._lang):
            trainings = self._trainings(interrupted=interrupted, failed=failed)
            if trainings is None:
                return None
            diagnosis = self._diagnosis(trainings)
            if diagnosis is not None:
                with terminal() as stream:
                    stream.write("\n")  # apart from what the script wrote last
                    self._delivery.deliver(diagnosis, trainings, stream=stream)
            self._tell_folder(partly=any(_lost_on_disk(each) for each in trainings))
            return diagnosis

    def _trainings(self, *, interrupted: bool, failed: bool) -> Sequence[Readings] | None:
        if not self._torch_seen:
            self._tell_unseen(_("No training seen: the script did not import torch."))
            return None
        if self._observer is None:
            return None
        try:
            self._stop(self._observer, interrupted=interrupted)
            trainings = [each for each in self._observer.trainings if each.record.steps > 0]
        except Exception as error:  # noqa: BLE001
            warn(_("What was observed is lost: {error}").format(error=described(error)))
            return None
        if not trainings:
            self._tell_unseen(
                _(
                    "No training seen: the script was stopped before the first step of an "
                    "optimizer. Let it run for longer."
                )
                if interrupted
                else _(
                    "No training seen: expected an optimizer to take a step, and the script failed "
                    "before the first one. Correct the error that it shows, and run it again."
                )
                if failed
                else _(
                    "No training seen: expected an optimizer of torch.optim to take a step in this "
                    "process, got none. Update the weights with optimizer.step(), or after "
                    "loss.backward() by hand, and train in this process: what child processes "
                    "train is not observed."
                )
            )
            return None
        return trainings

    def _tell_unseen(self, reason: str) -> None:
        """Say why there is no diagnosis, also in the files: who asked for one will look there."""
        say(reason)
        if self._delivery.json is None and self._delivery.report is None:
            return
        try:
            from .._diagnose import diagnose
            from ..readings import Readings, RunRecord

            nothing = Readings(record=RunRecord(script=self._program.target))
            diagnosis = replace(diagnose([nothing]), inconclusive_because=reason)
        except Exception as error:  # noqa: BLE001
            warn(_("The diagnosis failed: {error}").format(error=described(error)))
            return
        self._delivery.deliver_files(diagnosis, [nothing])

    def _stop(self, observer: Observer, *, interrupted: bool) -> None:
        if interrupted:
            observer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        else:
            observer.__exit__(None, None, None)

    def _diagnosis(self, trainings: Sequence[Readings]) -> Diagnosis | None:
        try:
            from .._diagnose import diagnose

            return diagnose(trainings, lag=self._lag)
        except Exception as error:  # noqa: BLE001
            warn(_("The diagnosis failed: {error}").format(error=described(error)))
            return None

    def _tell_folder(self, *, partly: bool = False) -> None:
        folder = self._folder
        if folder is None or not folder.is_dir():
            return
        with suppress(OSError):
            keep_out_of_git(folder)
        shown = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else folder
        told = (
            _("Recorded in {folder} up to where writing failed; again: gradfuga diagnose {folder}")
            if partly
            else _("Recorded in {folder}; again: gradfuga diagnose {folder}")
        )
        say(told.format(folder=shown))


def _lost_on_disk(readings: Readings) -> bool:
    """Whether what memory holds is more than what could be written."""
    return any(part.startswith("the sink ") for part in readings.record.warnings)

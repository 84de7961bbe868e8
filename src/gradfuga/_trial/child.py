"""Run one training of a trial: the body of the child process."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, final

from .._torch.launch import Program, launch
from .._torch.protection import protect
from .._torch.seeding import Seeds
from ..experiment import TrialRun
from .request import Order, write_run

if TYPE_CHECKING:
    from .inside import Inside

_NO_TORCH = "the script did not import torch"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MOST_TOLD = 200  # characters of an exception's text


def main(order_file: str) -> NoReturn:
    """Carry out the order that lies pickled in `order_file`."""
    order: Order = pickle.loads(Path(order_file).read_bytes())
    _Child(order).run()


@final
class _Child:
    """One order, from the start of the process to its report."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._started = time.monotonic()
        self._seeds = Seeds(order.seed)
        self._inside: Inside | None = None

    def run(self) -> NoReturn:
        """Run the program to its end or to that of its slice, and report."""
        order = self._order
        _ask_to_be_killed_first()
        _end_with_parent()
        os.chdir(order.place.folder)
        protect(order.report.parent, order.original)
        self._seeds.plant()
        program = Program(str(order.place.script), order.arguments)
        outcome = launch(program, torch_imported=self._look_on, terminated=lambda: None)
        failed = ""
        if outcome.failed:
            error = getattr(sys, "last_value", None)
            failed = f"exit code {outcome.exit_code}"
            if error is not None:
                failed = f"{type(error).__name__}: {error}".splitlines()[0][:_MOST_TOLD]
        self._report(ended=not outcome.interrupted, failed=failed)

    def _look_on(self) -> None:
        from .inside import Inside  # noqa: PLC0415 (imports torch, which the program does first)

        self._inside = Inside(
            self._order,
            seeds=self._seeds,
            started=self._started,
            over=lambda: self._report(ended=False, failed=""),
        )

    def _report(self, *, ended: bool, failed: str) -> NoReturn:
        """Write the report and leave at once: nothing of the program runs any more."""
        code = 0
        try:
            if self._inside is None:
                run = TrialRun(self._order.seed, failed=failed or _NO_TORCH)
            else:
                run = self._inside.measured(ended=ended, failed=failed)
            write_run(run, self._order.report)
        except Exception as error:  # noqa: BLE001 (told by the report's absence and this line)
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            code = 1
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


def _ask_to_be_killed_first() -> None:
    """Let the kernel, where memory runs out, end this trial and nothing of the user's."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    except OSError:
        return  # not Linux


def _end_with_parent() -> None:
    """Let the kernel end this training when its parent is killed, as a Ray worker may be."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

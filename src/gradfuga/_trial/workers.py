"""Run requests in child processes, several at a time, each in a working copy of its own."""

from __future__ import annotations

import os
import pickle
import re
import signal
import tempfile
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import final

from .._messages import _
from ..experiment import TrialRun
from .processes import AbstractChild, AbstractStarter, FreshStarter, starter
from .request import Order, Request, read_run
from .scratch import PREFIX, working_copy

_PAUSE = 0.1  # seconds between two looks at the clock
_LAST_WORDS = 5.0  # chosen: seconds that an interrupted run has to write down what it has seen
# What Python, the allocators of torch and those of its devices say.
_NO_MEMORY = re.compile(r"\bMemoryError\b|OutOfMemoryError|out of memory|can't allocate memory")
_WANTED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
_MOST_TOLD = 300  # characters of a script's own last words


class AbstractPool(ABC):
    """Somewhere to run requests.

    Attributes:
        jobs: how many run side by side.
    """

    jobs: int

    @abstractmethod
    def submit(self, request: Request) -> Future[TrialRun]:
        """Run `request` as soon as there is room."""

    def prepare(self, modules: tuple[str, ...]) -> None:  # noqa: B027 (nothing, where none can be)
        """Import `modules` ahead of the next runs."""

    @abstractmethod
    def close(self) -> None:
        """End what still runs, and take nothing more."""


@final
class LocalPool(AbstractPool):
    """Child processes of this one, `jobs` at a time."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="gradfuga-trial")
        self._closed = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._starter = starter(Path(self._folder.name))

    def submit(self, request: Request) -> Future[TrialRun]:
        """Run `request` in a child process."""
        return self._threads.submit(run_request, request, self._starter, self._closed)

    def prepare(self, modules: tuple[str, ...]) -> None:
        """Import `modules` ahead, where that is possible."""
        self._starter.prepare(modules)

    def close(self) -> None:
        """Kill the children; harmless when done twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)
        self._starter.close()
        self._folder.cleanup()


def run_request(
    request: Request,
    start: AbstractStarter | None = None,
    closed: threading.Event | None = None,
) -> TrialRun:
    """Run `request` in a child process, in a working copy that is thrown away.

    Whatever becomes of the child, its run says: it never raises for what the script does.
    """
    sources = dict(request.treatment.sources) if request.treatment is not None else {}
    with working_copy(request.place, sources) as (ours, place):
        order = Order(
            place=place,
            original=request.place.root,
            arguments=tuple(_moved(each, request, place.root) for each in request.arguments),
            prescriptions=(
                tuple(each.edits for each in request.treatment.prescriptions)
                if request.treatment is not None
                else ()
            ),
            seed=request.seed,
            steps=request.steps,
            seconds=request.seconds,
            training=request.training,
            model=request.model,
            record=request.record,
            hurdle=request.hurdle,
            gated=request.gated,
            report=ours / "run.json",
        )
        told = ours / "stderr.txt"
        (ours / "order").write_bytes(pickle.dumps(order))
        child = (start or FreshStarter(ours)).start(ours / "order", told)
        code = _await(child, request.patience, closed, asked=bool(request.record))
        if order.report.exists():
            return _in_the_users_terms(read_run(order.report), told, request, place.root)
        return TrialRun(request.seed, failed=_why(code, told, request))


def _in_the_users_terms(run: TrialRun, told: Path, request: Request, copy: Path) -> TrialRun:
    """Return `run` with the script's own last words, and the user's paths, in why it failed."""
    if not run.failed:
        return run
    words = _last_words(told) if run.failed.startswith("exit code") else ""
    why = f"{run.failed}: {words}" if words else run.failed
    if _NO_MEMORY.search(why):
        wanted = _WANTED.search(why)
        why = _("out of memory")
        if wanted is not None:
            why = _("out of memory: it asked for {size}").format(size=wanted[1])
    return replace(run, failed=why.replace(str(copy), str(request.place.root)))


def _last_words(told: Path) -> str:
    text = told.read_text("utf-8", "replace") if told.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-_MOST_TOLD:] if lines else ""


def _moved(argument: str, request: Request, copy: Path) -> str:
    """Return an argument that names a place in the user's folder as that place in the copy."""
    original = str(request.place.root)
    if argument == original or argument.startswith(original + os.sep):
        return str(copy) + argument[len(original) :]
    return argument


def _await(
    child: AbstractChild, patience: float, closed: threading.Event | None, *, asked: bool
) -> int | None:
    """Wait for `child`, then end it and whatever it has started.

    Where the pool is closed meanwhile, a child that is `asked` ends by itself, and reports.

    Returns:
        Its exit code, None where it was too late.
    """
    waited, code = 0.0, None
    try:
        while code is None and waited < patience and not (closed is not None and closed.is_set()):
            code = child.wait(_PAUSE)
            waited += _PAUSE
        if code is None and asked and waited < patience:
            child.interrupt()
            code = child.wait(_LAST_WORDS)
    finally:
        child.kill()
    return code


def _why(code: int | None, told: Path, request: Request) -> str:
    if code is None:
        return _("no end within {seconds:.0f} s").format(seconds=request.patience)
    if code == -signal.SIGKILL:
        return _("killed by the system, as it does when memory runs out")
    if code < 0:
        return _("killed by signal {number}").format(number=-code)
    return _last_words(told) or _("exit code {code}").format(code=code)

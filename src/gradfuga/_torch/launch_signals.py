"""Die of a signal as the program would have died of it, after the last words are said."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def termination_told(respond: Callable[[], None]) -> Iterator[None]:
    """Call `respond` when SIGTERM would kill the process inside the block, then let it kill.

    Without us nothing of the program runs after a default SIGTERM: no ``finally``, no ``atexit``.
    So the last words are said on top of the program's stack, and nothing unwinds it. A handler
    that the program installs, or inherited as ignored, stays in force; a forked child has the
    default back. The response waits until the main thread is back in Python, so it comes after
    the call in progress (one kernel, one ``join``).
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def answer(_number: int, _frame: FrameType | None) -> None:
        with next_signal_kills():
            try:
                respond()
            finally:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)

    def retire() -> None:
        if signal.getsignal(signal.SIGTERM) is answer:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, answer)
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=retire)
    try:
        yield
    finally:
        retire()


@contextmanager
def next_signal_kills(*, but_one: bool = False) -> Iterator[None]:
    """Inside the block a Ctrl-C or SIGTERM ends the process at once, unless it is ignored.

    Args:
        but_one: let the first SIGTERM pass. Where a process of a job fails, its launcher ends the
            others, and gives them time; torchrun 30 seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in kept.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, signal.SIG_DFL)
    if but_one and kept[signal.SIGTERM] not in (signal.SIG_IGN, None):
        signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:  # None: installed by foreign C code, which we left alone
                signal.signal(number, handler)


def leave_by_keyboard_interrupt() -> NoReturn:
    """End as the interpreter does after Ctrl-C: ``atexit`` runs, then SIGINT kills the process."""
    sys.excepthook = lambda *_: None  # the traceback has been printed already
    raise KeyboardInterrupt

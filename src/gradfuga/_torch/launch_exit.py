"""Say the last words of a program that leaves by `os._exit`, which runs nothing of Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def exit_told(respond: Callable[[], None]) -> Iterator[None]:
    """Call `respond` when the program ends this process by `os._exit` inside the block.

    Programs use it to end in spite of threads that hang. Neither ``finally`` nor ``atexit`` runs,
    and what waits in the buffer of standard output is lost, here as without us. A forked child,
    which ends so by the rules of `multiprocessing`, is not asked.
    """
    owner, original = os.getpid(), os._exit

    def _exit(status: int) -> NoReturn:
        if os.getpid() == owner and isinstance(status, int):
            with suppress(BaseException):  # it has asked to be gone
                respond()
        original(status)

    _exit.__doc__ = original.__doc__
    os._exit = _exit
    try:
        yield
    finally:
        if os._exit is _exit:
            os._exit = original

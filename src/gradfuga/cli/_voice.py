"""Speak to the user on stderr, whatever the script made of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from .._messages import _

_STDERR = 2


@contextmanager
def terminal() -> Iterator[TextIO]:
    """A stream of our own to the process's stderr, or to nowhere if the script closed that.

    Not `sys.stderr`: scripts replace it by a log file; and in a signal handler its buffer may be
    in the middle of another write, where Python forbids a second one.
    """
    encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
    try:
        stream = open(  # noqa: SIM115 (closed below)
            _STDERR, "w", encoding=encoding, errors="backslashreplace", closefd=False
        )
    except OSError:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        yield stream
    finally:
        with suppress(OSError):  # nobody listens any more
            stream.close()


def say(text: str) -> None:
    """Print one line of ours."""
    with terminal() as stream:
        stream.write(f"gradfuga: {text}\n")


def warn(text: str) -> None:
    """Print one warning of ours."""
    say(_("warning: {text}").format(text=text))

"""Print an uncaught exception as ``python`` prints it, without our frames."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

_OURS = frozenset(str(Path(__file__).with_name(name)) for name in ("launch.py", "launch_import.py"))
_IMPORT_SYSTEM = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def print_uncaught(error: BaseException) -> SystemExit | None:
    """Hand `error` to `sys.excepthook`, the program's own if it has one.

    Returns:
        The `SystemExit` with which a hook of the program asked for another exit code, or None.
    """
    for each in _chain(error):
        each.__traceback__ = without_our_frames(each.__traceback__)
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = error.__traceback__
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as request:
        return request
    except BaseException as failure:  # noqa: BLE001 (a hook's own failure is printed too)
        failed = failure
    else:
        return None
    failed.__context__ = None
    failed.__traceback__ = without_our_frames(failed.__traceback__)
    if sys.stderr is not None:
        sys.stderr.write("Error in sys.excepthook:\n")
        traceback.print_exception(failed)
        sys.stderr.write("\nOriginal exception was:\n")
        traceback.print_exception(error)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    for each in chain:
        earlier = (each.__cause__, each.__context__)
        chain.extend(e for e in earlier if e is not None and all(e is not c for c in chain))
    return chain


def without_our_frames(tb: TracebackType | None) -> TracebackType | None:
    """Unlink our frames from `tb`, and frames of the import system that led to one of ours."""
    kept: list[TracebackType] = []
    while tb is not None:
        name = tb.tb_frame.f_code.co_filename
        if name in _OURS or name == __file__:
            while kept and kept[-1].tb_frame.f_code.co_filename in _IMPORT_SYSTEM:
                kept.pop()
        else:
            kept.append(tb)
        tb = tb.tb_next
    if not kept:
        return None
    for first, second in zip(kept, [*kept[1:], None], strict=True):
        first.tb_next = second
    return kept[0]

"""Print an uncaught exception as ``python`` prints it, without our frames."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_LAUNCHING = tuple(
    str(Path(__file__).with_name(name))
    for name in ("launch.py", "launch_import.py", "launch_uncaught.py")
)
_IMPORT_SYSTEM = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


def print_uncaught(error: BaseException) -> SystemExit | None:
    """Hand `error` to `sys.excepthook`, the program's own if it has one.

    Returns:
        The `SystemExit` with which a hook of the program asked for another exit code, or None.
    """
    for each in _chain(error):
        each.__traceback__ = without_our_frames(each)
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
    failed.__traceback__ = without_our_frames(failed)
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


def without_our_frames(error: BaseException) -> TracebackType | None:
    """Unlink our frames from the error's traceback, and those of the import system above ours.

    Ours stand above the program, as we launch it, and inside, as we look on while it trains. An
    error that we raised ourselves keeps the inner ones: it must be seen whose fault it is.
    """
    frames: list[TracebackType] = []
    tb = error.__traceback__
    while tb is not None:
        frames.append(tb)
        tb = tb.tb_next
    culprit = frames[-1].tb_frame.f_code.co_filename if frames else ""
    own_fault = culprit.startswith(_PACKAGE) and culprit not in _LAUNCHING
    hidden = not own_fault or isinstance(error, KeyboardInterrupt)
    kept: list[TracebackType] = []
    for each in frames:
        name = each.tb_frame.f_code.co_filename
        if name in _LAUNCHING or (hidden and name.startswith(_PACKAGE)):
            while kept and kept[-1].tb_frame.f_code.co_filename in _IMPORT_SYSTEM:
                kept.pop()
        else:
            kept.append(each)
    if not kept:
        return None
    for first, second in zip(kept, [*kept[1:], None], strict=True):
        first.tb_next = second
    return kept[0]

"""Run a program in this process as ``python`` would run it.

Nothing here knows of observing: the caller is told when the program has imported torch, and when
it is about to be terminated. What the program sees (``__main__``, ``sys.argv``, ``sys.path``, its
exceptions) is what it would see under ``python``; what differs is that frames of this file lie
below its own, and that a default SIGTERM finds a handler.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec
from pathlib import Path
from pkgutil import get_importer
from types import CodeType, ModuleType
from typing import NoReturn

from .._errors import UsageError
from .._messages import _
from .launch_import import torch_import_told
from .launch_signals import leave_by_keyboard_interrupt, termination_told
from .launch_uncaught import print_uncaught

_STDIN = "-"


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a file, folder or zip (`target`), or with `module` a dotted module name.

    The target ``-`` is what standard input holds, as under ``python -``.
    """

    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False

    @property
    def name(self) -> str:
        """A short name for folders and titles: the file's stem or the module's dotted name."""
        if self.module:
            return self.target
        return "stdin" if self.target == _STDIN else Path(os.path.abspath(self.target)).stem


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the program ended.

    Attributes:
        exit_code: the argument of the final `SystemExit`.
        interrupted: an uncaught `KeyboardInterrupt` ended it, so that the process dies by SIGINT.
    """

    exit_code: int = 0
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether an exit code that is not 0, an exception or a Ctrl-C ended it."""
        return self.interrupted or self.exit_code != 0

    def leave(self) -> NoReturn:
        """End this process as ``python`` would after such a program."""
        if self.interrupted:
            leave_by_keyboard_interrupt()
        raise SystemExit(self.exit_code)


def check(program: Program) -> None:
    """Refuse a program that cannot be found, before anything of it runs.

    Raises:
        UsageError: there is no such file or module, or the folder has no ``__main__.py``.
    """
    if program.module:
        _check_module(program.target)
        return
    target = program.target
    if target == _STDIN:
        _check_stdin()
        return
    if not os.path.exists(target):
        raise UsageError(
            _("expected a training script"),
            _("got '{target}', which does not exist").format(target=target),
            _("Give the path of a Python file, or -m and a module's name."),
        )
    importer = get_importer(_absolute(target))
    if importer is not None:
        if importer.find_spec("__main__") is None:
            raise UsageError(
                _("expected a training script"),
                _("got '{target}', which has no __main__.py").format(target=target),
                _("Give the path of a Python file inside it."),
            )
    elif not os.access(target, os.R_OK):
        raise UsageError(
            _("expected a training script"),
            _("got '{target}', which cannot be read").format(target=target),
            _("Give the path of a Python file that you may read."),
        )


def launch(
    program: Program, *, torch_imported: Callable[[], None], terminated: Callable[[], None]
) -> Outcome:
    """Run `program` to its end, its threads included, and say how it ended.

    An uncaught exception is printed as ``python`` prints it. A process that the program forked,
    and that returns through the end of the program, leaves here and never comes back.

    Args:
        program: what to run; see `check`.
        torch_imported: called once, in this process alone, when ``import torch`` has succeeded.
        terminated: called before this process dies of a SIGTERM that the program does not handle.
    """
    owner = os.getpid()

    def tell() -> None:
        if os.getpid() == owner:
            torch_imported()

    others = frozenset(threading.enumerate())
    with torch_import_told(tell), termination_told(terminated):
        outcome = _run(program)
        if os.getpid() != owner:
            outcome.leave()
        _await_threads(others)
    return outcome


def _run(program: Program) -> Outcome:
    try:
        _execute(program)
    except SystemExit as request:
        return Outcome(_exit_code(request.code))
    except BaseException as error:  # noqa: BLE001 (what nobody caught, as python does)
        uncaught = error
    else:
        return Outcome()
    # Outside the except block, so that a program's excepthook sees no exception being handled.
    other = print_uncaught(uncaught)
    if other is not None:
        return Outcome(_exit_code(other.code))
    return Outcome(1, interrupted=type(uncaught) is KeyboardInterrupt)


def _execute(program: Program) -> None:
    main = ModuleType("__main__")
    vars(main).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = main
    sys.argv = [program.target, *program.arguments]
    if program.module:
        sys.argv[0] = "-m"  # what parent packages see while they are imported
        _put_first_on_path(os.getcwd())
        _run_module(program.target, is_name=True)
        return
    if program.target == _STDIN:
        _put_first_on_path("")
        vars(main).update(__file__="<stdin>", __cached__=None, __loader__=BuiltinImporter)
        exec(_compiled_stdin(), vars(main))  # noqa: S102 (to run it is the purpose)
        return
    path = _absolute(program.target)
    if get_importer(path) is not None:
        _put_first_on_path(path, always=True)
        _run_module("__main__", is_name=False)
        return
    _put_first_on_path(os.path.dirname(os.path.realpath(path)))
    loader = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    vars(main).update(__file__=path, __cached__=None, __loader__=loader("__main__", path))
    exec(_compiled(path), vars(main))  # noqa: S102 (to run it is the purpose)


def _run_module(name: str, *, is_name: bool) -> None:
    # What the interpreter itself calls for -m, folders and zips: its messages, its frames.
    runpy._run_module_as_main(  # type: ignore[attr-defined]  # noqa: SLF001
        name, alter_argv=is_name
    )


def _compiled(path: str) -> CodeType:
    if path.endswith(".pyc"):
        code = SourcelessFileLoader("__main__", path).get_code("__main__")
        assert code is not None
        return code
    with io.open_code(path) as file:
        source = file.read()
    return _code(source, path)


def _compiled_stdin() -> CodeType:
    source = sys.stdin.buffer.read()
    return _code(source, "<stdin>")


def _code(source: bytes, name: str) -> CodeType:
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except ValueError as error:  # null bytes, before Python 3.11.4; its own reader says the other
        raise SyntaxError(str(error), (name, None, None, None)) from None


def _absolute(target: str) -> str:
    """The path as python writes it into ``__file__``: made absolute, not normalised."""
    return os.path.abspath(target) if os.name == "nt" else os.path.join(os.getcwd(), target)


def _put_first_on_path(folder: str, *, always: bool = False) -> None:
    """Give `folder` the place on `sys.path` that this command's own folder has."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _exit_code(code: object) -> int:
    """The exit code of a `SystemExit`; a message goes to stderr and means 1."""
    match code:
        case None:
            return 0
        case int():
            return code
        case _:
            if sys.stderr is not None:
                sys.stderr.write(f"{code}\n")
                sys.stderr.flush()
            return 1


def _await_threads(others: frozenset[threading.Thread]) -> None:
    """Wait for the threads that the interpreter would wait for, as they may still be training.

    Not for `others`, which were there before the program.

    Idle workers of executors are ended by callbacks that the interpreter runs first; without them
    we would wait for ever. They are private to `threading`: where there are none, do not wait.
    """
    callbacks = getattr(threading, "_threading_atexits", None)
    if callbacks is None or not _waited_for(others):
        return  # without need executors stay usable for what comes after the program
    try:
        while callbacks:
            callbacks.pop()()
        while waiting := _waited_for(others):
            waiting[0].join()
    except KeyboardInterrupt:
        return  # as in the interpreter: a Ctrl-C ends the waiting, not the ending


def _waited_for(others: frozenset[threading.Thread]) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if not each.daemon and each not in others]


def _check_stdin() -> None:
    """Refuse a keyboard, and no standard input at all."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            _("expected a training script on standard input after -"),
            _("got a terminal"),
            _("Write gradfuga run - < train.py, or give the path of the file."),
        )


def _check_module(name: str) -> None:
    """Refuse a top-level name that nobody has; what lies deeper is for the interpreter to say."""
    top = name.partition(".")[0]
    path = [os.getcwd(), *sys.path[1:]] if not sys.flags.safe_path else sys.path
    kept, sys.path = sys.path, path
    try:
        found = top in sys.modules or (top != "" and find_spec(top) is not None)
    finally:
        sys.path = kept
    if not found:
        raise UsageError(
            _("expected a module that can be imported after -m"),
            _("got '{name}', which is not installed and not in this folder").format(name=name),
            _("Start in the folder that holds the package, or give the path of a file."),
        )

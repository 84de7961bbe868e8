"""Keep what a trial writes inside its working copy."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC
# Events whose first argument is a path that is about to change, and which of them also name a
# second one.
_CHANGING = frozenset(
    {"os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.truncate", "os.utime",
     "shutil.rmtree", "sqlite3.connect"}
)  # fmt: skip
_MOVING = frozenset({"os.rename", "os.link", "os.symlink", "shutil.move"})


def protect(ours: Path, original: Path) -> None:
    """Break links out of `ours` before they are written through, and forbid to write `original`.

    For the rest of this process, for everything that Python opens; and for `torch.save`, which
    opens files by itself, see `guard_saving`.
    """
    inside, outside = str(ours) + os.sep, str(original)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            opened = mode if isinstance(mode, str) else ""
            if set(opened) & set("wax+") or (isinstance(flags, int) and flags & _WRITING):
                _claim(path, inside, outside, keep="w" not in opened)
        elif event in _CHANGING:
            _claim(arguments[0], inside, outside, keep=True, removed=event == "os.remove")
        elif event in _MOVING:
            for path in arguments[:2]:
                _claim(path, inside, outside, keep=True, removed=True)

    sys.addaudithook(watch)


def guard_saving(ours: Path, original: Path) -> None:
    """Do for `torch.save` what `protect` does for Python's own `open`."""
    import torch  # noqa: PLC0415 (after the program has imported it)

    inside, outside = str(ours) + os.sep, str(original)
    save = torch.save

    def saving(value: object, file: object, *args: object, **kwargs: object) -> None:
        _claim(file, inside, outside, keep=False)
        save(value, file, *args, **kwargs)  # type: ignore[arg-type]  # handed on as they came

    torch.save = saving  # type: ignore[assignment]  # its own signature, handed on


def _claim(path: object, inside: str, outside: str, *, keep: bool, removed: bool = False) -> None:
    """Make `path` the copy's own before it changes.

    Raises:
        PermissionError: it lies in the user's own folder.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return
    name = os.path.abspath(os.fsdecode(path))
    within = name.startswith(inside)
    if within and os.path.islink(name):
        target = os.path.realpath(name)
        if not removed and not os.path.isdir(target):
            with suppress(OSError):
                os.unlink(name)
                if keep:
                    shutil.copyfile(target, name)
        return
    real = os.path.realpath(name)
    if real.startswith(inside):
        return
    if within or real == outside or real.startswith(outside + os.sep):
        raise PermissionError(
            f"a trial must not change '{name}', which is outside of its working copy"
        )

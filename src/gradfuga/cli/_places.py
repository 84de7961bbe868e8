"""Refuse places that cannot be written, name run folders, write files whole or not at all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from .._errors import UsageError
from .._messages import _

RUNS = "gradfuga-runs"
_MANIFEST = "manifest.json"  # as readings.MANIFEST, which cannot be imported without numpy


def checked_file(option: str, place: Path, *, suffix: str) -> Path:
    """Return `place` made absolute.

    Raises:
        UsageError: it is a folder, a Python file, standard output, or cannot be written.
    """
    expected = _("expected a file to write to after {option}").format(option=option)
    instead = _("Write {option} {name}.").format(option=option, name=f"diagnosis{suffix}")
    absolute = Path(os.path.abspath(place))
    if str(place) == "-":
        raise UsageError(
            expected,
            _("got '-': standard output belongs to the script, so there is no '-'"),
            instead,
        )
    if absolute.is_dir():
        raise UsageError(expected, _("got '{place}', a folder").format(place=place), instead)
    if absolute.suffix in (".py", ".pyc"):
        raise UsageError(
            expected, _("got '{place}', a Python file's name").format(place=place), instead
        )
    _demand_writable(absolute.parent, str(place), expected, instead)
    return absolute


def checked_run_folder(place: Path) -> Path:
    """Return `place` made absolute.

    Raises:
        UsageError: it is a file, holds a recorded run already, or cannot be written.
    """
    expected = _("expected a new folder to record to after --out")
    instead = _("Give another folder, or leave --out away.")
    absolute = Path(os.path.abspath(place))
    if absolute.exists() and not absolute.is_dir():
        raise UsageError(expected, _("got '{place}', a file").format(place=place), instead)
    if recorded_runs(absolute):
        raise UsageError(
            expected, _("got '{place}', which holds a run already").format(place=place), instead
        )
    _demand_writable(absolute, str(place), expected, instead)
    return absolute


def new_run_folder(name: str) -> Path | None:
    """Name a folder for a run of `name` under the working directory; None if none can be made."""
    runs = Path.cwd() / RUNS
    if _why_unwritable(runs) is not None:
        return None
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = runs / stem, 1
    while folder.exists():
        number += 1
        folder = runs / f"{stem}-{number}"
    return folder


def is_first_process() -> bool:
    """Whether this process speaks for its job: torchrun numbers those that it starts."""
    return os.environ.get("RANK", "0") == "0" or not is_one_of_several()


def is_one_of_several() -> bool:
    """Whether a launcher has started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def keep_out_of_git(folder: Path) -> None:
    """Make git ignore the default place of runs, once something is recorded in it."""
    ignore = folder.parent / ".gitignore"
    if folder.parent.name == RUNS and folder.is_dir() and not ignore.exists():
        ignore.write_text("*\n", "utf-8")


def recorded_runs(folder: Path) -> list[Path]:
    """Return the recorded trainings of a run folder: itself, or its folders ``0``, ``1``, ..."""
    if (folder / _MANIFEST).exists():
        return [folder]
    if not folder.is_dir():
        return []
    numbered = [each for each in folder.iterdir() if each.name.isdecimal()]
    parts = [each for each in numbered if (each / _MANIFEST).exists()]
    return sorted(parts, key=lambda each: int(each.name))


def write_whole(place: Path, text: str) -> None:
    """Write `text` to `place` atomically, its folders created.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, "utf-8", newline="\n")
        scratch.replace(place)
    finally:
        scratch.unlink(missing_ok=True)


def replace_whole(place: Path, content: bytes) -> None:
    """Replace the content of a file that is there, whole or not at all; its mode stays.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    scratch = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(content)
        shutil.copymode(place, scratch)
        scratch.replace(place)
    finally:
        scratch.unlink(missing_ok=True)


def _demand_writable(folder: Path, place: str, expected: str, instead: str) -> None:
    why = _why_unwritable(folder)
    if why is not None:
        raise UsageError(
            expected,
            _("got '{place}', which cannot be written ({why})").format(place=place, why=why),
            instead,
        )


def _why_unwritable(folder: Path) -> str | None:
    """Try to write where `folder` is or would be, and leave no trace."""
    from tempfile import TemporaryFile

    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    try:
        with TemporaryFile(dir=existing):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__

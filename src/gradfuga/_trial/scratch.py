"""Make a working copy of the user's folder that a trial may write in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from .._errors import UsageError
from .._messages import _
from ..patch.encoding import encoded

LARGE = 8 * 2**20  # chosen: bytes from which a file is linked instead of copied
MOST_FILES = 20_000  # chosen: some seconds of copying for every training of a trial
_LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache",
        ".pytest_cache", ".ruff_cache", ".tox", ".nox", ".ipynb_checkpoints", "gradfuga-runs",
        "wandb", "mlruns",
    }
)  # fmt: skip
PREFIX = "gradfuga-trial-"
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file until one is written to


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user works.

    Attributes:
        root: the folder that is copied: the project that holds both others.
        folder: the working directory.
        script: the script.
    """

    root: Path
    folder: Path
    script: Path

    @classmethod
    def of(cls, script: str, folder: Path) -> Place:
        """Find the project around the script and the working directory.

        It is the nearest folder with a ``.git`` or ``pyproject.toml`` that holds both; else the
        working directory, or the script's own folder where the script lies elsewhere.

        Raises:
            UsageError: the folder has more files than a trial can copy.
        """
        path = Path(os.path.realpath(folder / script))
        folder = Path(os.path.realpath(folder))
        if not path.is_relative_to(folder):
            folder = path.parent
        root = folder
        for above in (folder, *folder.parents):
            if above == Path.home():
                break
            if (above / ".git").exists() or (above / "pyproject.toml").exists():
                root = above
                break
        root = root if _is_small(root) else folder
        if not _is_small(root):
            raise UsageError(
                _("expected a folder of at most {count} files, which is copied for every trial")
                .format(count=MOST_FILES),
                _("got '{place}' with more").format(place=root),
                _("Start in a folder that holds the script and its data only."),
            )  # fmt: skip
        return cls(root, folder, path)

    def relative(self, path: str) -> str | None:
        """Return a file's path within the copied folder, None where it lies elsewhere."""
        real = Path(os.path.realpath(path))
        return str(real.relative_to(self.root)) if real.is_relative_to(self.root) else None


@contextmanager
def working_copy(place: Place, sources: Mapping[str, str]) -> Iterator[tuple[Path, Place]]:
    """Copy `place` for the time of the block, with `sources` in place of the user's text.

    Yields:
        A folder for our own files, and the copied place.
    """
    ours = Path(os.path.realpath(mkdtemp(prefix=PREFIX)))
    copy = ours / "copy" / place.root.name
    try:
        _copy_tree(place.root, copy)
        for name, text in sources.items():
            target = copy / name
            target.unlink(missing_ok=True)
            target.write_bytes(encoded(text))
        yield (
            ours,
            Place(
                copy,
                copy / place.folder.relative_to(place.root),
                copy / place.script.relative_to(place.root),
            ),
        )
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def _is_small(root: Path) -> bool:
    count = 0
    for _here, _folders, files in _walk(root):
        count += len(files)
        if count > MOST_FILES:
            return False
    return True


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for here, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name not in _LEFT_OUT
            and not name.startswith(PREFIX)
            and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
        ]
        yield here, folders, files


def _copy_tree(root: Path, copy: Path) -> None:
    for here, folders, files in _walk(root):
        target = copy / os.path.relpath(here, root)
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            with suppress(OSError):  # a socket, or a file that the user may not read
                _copy_file(Path(here, name), target / name)
        for name in list(folders):
            linked = Path(here, name)
            if linked.is_symlink():  # os.walk does not go in
                real = Path(os.path.realpath(linked))
                within = copy / real.relative_to(root) if real.is_relative_to(root) else real
                with suppress(OSError):
                    (target / name).symlink_to(within, target_is_directory=True)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a small file; share the blocks of a large one, or link it where they cannot be shared.

    A link is broken before anything is written through it: see `protect`.
    """
    if source.stat().st_size < LARGE:
        if source.is_file():
            shutil.copy2(source, target)
        return
    if not _clone(source, target):
        target.symlink_to(os.path.realpath(source))


def _clone(source: Path, target: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 (Linux only)

    try:
        with source.open("rb") as given, target.open("wb") as taken:
            fcntl.ioctl(taken.fileno(), _FICLONE, given.fileno())
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True

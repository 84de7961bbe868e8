"""The working copy: whole, apart from the user's folder, and thrown away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradfuga._errors import UsageError
from gradfuga._trial import scratch
from gradfuga._trial.scratch import LARGE, Place, working_copy


def project(root: Path) -> Place:
    (root / "src").mkdir(parents=True)
    (root / "data").mkdir()
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "src" / "train.py").write_text("print(1)")
    (root / "data" / "small.csv").write_text("1,2")
    return Place.of("train.py", root / "src")


def test_the_project_around_the_script_is_copied_and_thrown_away(tmp_path):
    place = project(tmp_path / "project")
    assert place.root == tmp_path / "project"
    with working_copy(place, {}) as (ours, copy):
        assert copy.script.read_text() == "print(1)"
        assert (copy.folder / ".." / "data" / "small.csv").read_text() == "1,2"
        assert not (copy.root / ".git").exists()
    assert not ours.exists()


def test_patched_sources_replace_the_copy_alone(tmp_path):
    place = project(tmp_path / "project")
    with working_copy(place, {"src/train.py": "print(2)"}) as (_ours, copy):
        assert copy.script.read_text() == "print(2)"
    assert place.script.read_text() == "print(1)"


def test_a_script_elsewhere_brings_its_own_folder(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "train.py").write_text("")
    place = Place.of("../there/train.py", tmp_path / "here")
    assert place.folder == tmp_path / "there"


def test_a_folder_that_is_too_large_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(UsageError, match="Start in a folder"):
        Place.of("0.txt", tmp_path)


def test_a_large_file_is_not_copied_and_survives_what_is_written_to_its_copy(tmp_path):
    """Every way to change a linked file, in a process under protection."""
    place = project(tmp_path / "project")
    for name in ("a", "b", "c", "d", "e"):
        with (place.root / f"{name}.bin").open("wb") as file:
            file.truncate(LARGE)
    before = {path.name: path.read_bytes() for path in place.root.glob("*.bin")}
    with working_copy(place, {}) as (ours, copy):
        used = sum(path.stat(follow_symlinks=False).st_blocks for path in copy.root.glob("*.bin"))
        assert used * 512 < LARGE  # linked, or blocks shared, for none was written
        program = f"""
import os, torch
from pathlib import Path
from gradfuga._torch.protection import guard_saving, protect
protect(Path({str(ours)!r}), Path({str(place.root)!r}))
guard_saving(Path({str(ours)!r}), Path({str(place.root)!r}))
os.chdir({str(copy.root)!r})
open("a.bin", "w").write("x")
with open("b.bin", "r+b") as file:
    file.seek(5); file.write(b"x")
torch.save({{}}, "c.bin")
os.replace("a.bin", "d.bin")
os.remove("e.bin")
for change in (
    lambda: open({str(place.root / "new.txt")!r}, "w"),
    lambda: os.remove({str(place.script)!r}),
    lambda: os.rename({str(place.script)!r}, "moved"),
    lambda: os.mkdir({str(place.root / "folder")!r}),
):
    try:
        change()
    except PermissionError:
        continue
    raise SystemExit("written outside of the copy")
print(Path("b.bin").stat().st_size, Path("d.bin").read_text())
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [str(LARGE), "x"]
    assert {path.name: path.read_bytes() for path in place.root.glob("*.bin")} == before
    assert sorted(os.listdir(place.root)) == sorted([".git", "data", "src", *before])

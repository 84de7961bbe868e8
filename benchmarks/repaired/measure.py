"""Repair one script, write the repair into a copy of it, and run both to their ends."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .cases import Case

EXAMPLES = Path(__file__).parents[2] / "examples" / "repair"


@dataclass(frozen=True, slots=True)
class Whole:
    """One script, observed from its beginning to its end.

    Attributes:
        result: the number of its last line.
        said: gradfuga's document.
    """

    result: float
    said: dict[str, object]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What came of one case.

    Attributes:
        said: the document of `gradfuga repair`.
        broken: the script as it is.
        repaired: its patched copy, None where the treatment has no form in source.
    """

    said: dict[str, object]
    broken: Whole
    repaired: Whole | None


def repair(case: Case, folder: Path, *, seeds: int, jobs: int) -> Repaired:
    """Let `gradfuga repair` loose on the script of `case`; `folder` is for what it leaves."""
    script = folder / f"{case.script}.py"
    script.write_text((EXAMPLES / script.name).read_text("utf-8"), "utf-8")
    document = folder / "repair.json"
    _gradfuga(
        *("repair", "--budget", case.budget, "--seeds", str(seeds), "--jobs", str(jobs)),
        *("--json", document.name, script.name),
        folder=folder,
    )
    said = json.loads(document.read_text("utf-8"))
    broken = whole(case, script)
    diff = said["trial"]["diff"]
    if not diff:
        return Repaired(said, broken, None)
    for command in (["git", "init", "-q"], ["git", "apply", "-"]):
        subprocess.run(command, cwd=folder, input=diff, text=True, check=True)
    return Repaired(said, broken, whole(case, script))


def whole(case: Case, script: Path) -> Whole:
    """Run `script` to its end, observed."""
    document = script.with_suffix(".json")
    printed = _gradfuga("run", "--json", document.name, script.name, folder=script.parent)
    found = re.findall(case.result, printed)
    result = float(found[-1]) if found else math.nan
    return Whole(result, json.loads(document.read_text("utf-8")))


def _gradfuga(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gradfuga", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    (folder / f"{arguments[0]}.txt").write_text(done.stdout, "utf-8")
    return done.stdout

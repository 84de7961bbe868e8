"""Run one example observed, and read its result and its horizon."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .tasks import Task

EXAMPLES = Path(__file__).parents[2] / "examples" / "recurrent"


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave.

    Attributes:
        result: the number of the script's last line.
        verdict: gradfuga's.
        horizon: in steps, of the recurrence that forgets first; NaN where none was reached.
        lag: lags at which that recurrence was measured.
        norm: norm of the gradient there, against lag 1.
    """

    result: float
    verdict: str
    horizon: float
    lag: tuple[float, ...]
    norm: tuple[float, ...]


def run(task: Task, cell: str, seed: int, *, cured: bool, settings: tuple[str, ...]) -> Run:
    """Run the example of `task` under `gradfuga run`."""
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "diagnosis.json"
        options = [
            *("--json", str(document), "--out", str(Path(folder) / "run")),
            str(EXAMPLES / f"{task.script}.py"),
            *("--cell", cell, "--seed", str(seed), *settings),
            *(("--cure",) if cured else ()),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "gradfuga", "run", *options],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        diagnosis = json.loads(document.read_text("utf-8"))
    found = re.findall(task.result, done.stdout)
    curves = [curve for curve in diagnosis["time"] if curve["norm"]]
    if not curves:
        return Run(float(found[-1]), diagnosis["verdict"], math.nan, (), ())
    shortest = min(curves, key=lambda curve: curve["horizon"] or math.inf)
    first = shortest["norm"][0] or math.nan
    return Run(
        result=float(found[-1]),
        verdict=diagnosis["verdict"],
        horizon=shortest["horizon"] or math.nan,
        lag=tuple(shortest["lag"]),
        norm=tuple(value / first for value in shortest["norm"]),
    )

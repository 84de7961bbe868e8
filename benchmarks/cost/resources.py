"""What an observed training needs besides time: memory, disk."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .table import Row

# "No higher", up to what the recorder may still fill by then: it is bounded by 16,384 losses and
# 512 samples at 16 bytes a value. A bare run of this length grows by 0.05 MB (measured).
_ALLOWED_MB = 1.0
_EARLY, _LATE = 1_000, 20_000

_MEMORY = """
import gc, sys
import torch
from benchmarks.cost.workloads import perceptron
from gradfuga import observe

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

torch.set_num_threads(1)
early, late = int(sys.argv[1]), int(sys.argv[2])
workload = perceptron(width=64, batch=64)
with observe(workload.model, workload.optimizer) as observer:
    for step in range(late):
        workload.step()
        if step + 1 == early:
            print(resident())
    print(resident())
"""

_DISK = """
import sys
import torch
from benchmarks.cost.workloads import perceptron
from gradfuga import observe

torch.set_num_threads(1)
workload = perceptron(width=64, batch=64)
with observe(workload.model, workload.optimizer, out=sys.argv[1]) as observer:
    for _ in range(int(sys.argv[2])):
        workload.step()
"""


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def memory(*, late: int = _LATE) -> Iterator[Row]:
    """Measure the resident memory of a long training, early and late."""
    if not Path("/proc/self/statm").exists():
        return  # only Linux tells it without a dependency
    early_mb, late_mb = (float(each) for each in _run(_MEMORY, str(_EARLY), str(late)).split())
    yield Row(
        where="MLP 8x64, batch 64",
        what=f"memory, step {late:,} less {_EARLY:,}",
        value=late_mb - early_mb,
        unit="MB",
        bar=_ALLOWED_MB,
        detail=f"{early_mb:.1f} MB at {_EARLY:,}, {late_mb:.1f} MB at {late:,}",
    )


def disk(*, steps: int = 2_000) -> Iterator[Row]:
    """Measure what a recorded run takes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        _run(_DISK, folder, str(steps))
        files = [each for each in Path(folder).rglob("*") if each.is_file()]
        size = sum(each.stat().st_size for each in files)
    yield Row(
        where="MLP 8x64, batch 64",
        what="disk for 1,000 steps",
        value=size / 1024 / (steps / 1000),
        unit="KB",
        detail=f"{size / 1024:.0f} KB in {len(files)} files after {steps:,} steps",
    )

"""One tool on one network, in a process of its own: time, memory, disk, as one line of JSON."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from benchmarks.cost.paired import Steps, ratio, timed
from benchmarks.cost.workloads import Workload, convolutional, perceptron, transformer

from .tools import TOOLS, Use

WORKLOADS = {
    "mlp": lambda: perceptron(width=128, batch=256),
    "conv": convolutional,
    "transformer": transformer,
}


def peak() -> float:
    """Return the most megabytes that the process has held in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _watched(workload: Workload, use: Use, count: int) -> Steps:
    use.attach()
    if use.between is not None:
        workload.between.append(use.between)
    try:
        timed(use.step or workload.step, 1)
        return timed(use.step or workload.step, count)
    finally:
        workload.between.clear()
        use.detach()


def main(name: str, network: str, seconds: float) -> None:
    """Compare blocks of bare with blocks of watched steps, in the order A B B A."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    workload = WORKLOADS[network]()
    tool = next(each for each in TOOLS if each.name == name)
    timed(workload.step, 5)
    bare_step = statistics.median(timed(workload.step, 10).cpu)
    count = max(2, min(20, round(0.1 / bare_step)))
    # a budget is kept on average, so that its blocks have to hold several samples
    average = statistics.median
    if tool.name == "gradfuga":
        count, average = max(20, min(400, round(seconds / bare_step / 12))), statistics.fmean
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        before = peak()
        use = tool.use(workload, folder)
        if tool.name == "gradfuga":
            _watched(workload, use, 600)  # the start-up samples are reported apart
        first = _watched(workload, use, 3)
        pairs = max(5, min(41, round(seconds / (statistics.median(first.cpu) + bare_step) / count)))
        bare, watched, steps = [], [], 4
        for pair in range(pairs):
            for observed in (False, True) if pair % 2 == 0 else (True, False):
                if observed:
                    watched.append(_watched(workload, use, count))
                    steps += count + 1
                else:
                    timed(workload.step, 1)
                    bare.append(timed(workload.step, count))
        memory = peak() - before
        use.close()
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = ratio(bare, watched, average)
    print(
        json.dumps(
            {
                "low": found.low,
                "median": found.median,
                "high": found.high,
                "wall": found.wall,
                "bare_ms": 1e3 * found.bare_seconds,
                "memory_mb": memory,
                "disk_kb": disk / 1024 * 1000 / steps,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

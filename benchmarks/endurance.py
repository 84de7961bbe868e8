"""Train for 200,000 steps under the default budget, recorded, and tell what memory it takes.

    python -m benchmarks.endurance [--steps 200000]

Prints one line at each mark: resident memory, the values that the observer holds, its overhead
so far, and the size of the run folder. Memory is constant where the last lines agree; the recorder
is bounded by 512 samples and 16,384 losses (docs/adr/0009-bounded-memory.md). The first flush to
disk imports pyarrow, which takes some 85 MB once.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from gradfuga import observe

MARKS = (1_000, 10_000, 20_000, 50_000, 100_000, 150_000, 200_000, 500_000, 1_000_000)


def resident_mb() -> float:
    """Return the resident memory of this process, in MB (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200_000)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(64, 8), torch.randint(4, (64,))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, observe(model, optimizer, out=folder) as observer:
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if step in MARKS or step == steps:
                readings = observer.readings
                size = sum(each.stat().st_size for each in Path(folder).rglob("*.*"))
                print(
                    f"{step:>9,} steps  {resident_mb():7.1f} MB  {len(readings):>8,} values held  "
                    f"{len(readings.sampled):>4} samples  overhead {readings.record.overhead:.4f}  "
                    f"{size / 2**20:.2f} MB on disk  {time.perf_counter() - started:.0f} s",
                    flush=True,
                )
                del readings


if __name__ == "__main__":
    main()

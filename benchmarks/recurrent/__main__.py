"""Run the worked recurrent examples, and write their pages and pictures into docs/.

Usage: python -m benchmarks.recurrent [TASK ...] --seeds 3
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from . import page
from .measure import Run, run
from .tasks import TASKS, Task


def measure(task: Task, *, seeds: int, workers: int) -> page.Runs:
    """Run every cell with and without its cure, `workers` at a time."""
    jobs = [
        (settings, cell, cured, seed)
        for settings in task.settings
        for cell in page.CELLS
        for cured in (False, True)
        for seed in range(seeds)
    ]
    found: page.Runs = {}

    def one(job: tuple[tuple[str, ...], str, bool, int]) -> Run:
        settings, cell, cured, seed = job
        return run(task, cell, seed, cured=cured, settings=settings)

    with ThreadPoolExecutor(workers) as pool:
        for job, result in zip(jobs, pool.map(one, jobs), strict=True):
            settings, cell, cured, seed = job
            found.setdefault((settings, cell, cured), []).append(result)
            treated = "cured" if cured else "as it is"
            shown = " ".join((task.script, *settings, cell, treated, f"seed {seed}"))
            print(f"{shown}: {result.result:g}, {result.verdict}, horizon {result.horizon:g}")
    return found


def main() -> None:
    """Write the pages of the tasks that are named, of all where none is."""
    names = [task.script for task in TASKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrent", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(names))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    options = parser.parse_args()
    unknown = sorted(set(options.tasks) - set(names))
    if unknown:
        parser.error(f"expected tasks among {', '.join(names)}, got {', '.join(unknown)}")
    for task in TASKS:
        if not options.tasks or task.script in options.tasks:
            runs = measure(task, seeds=options.seeds, workers=options.workers)
            print(f"wrote {page.write(task, runs, options.seeds)}")


if __name__ == "__main__":
    main()

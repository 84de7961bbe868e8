"""Repair the sick trainings of the zoo and the examples with each method, and compare them.

Usage: python -m benchmarks.repair [--members NAME ...] [--seeds N] [--write]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from gradfuga._trial.workers import LocalPool

from .cell import Cell, evaluate
from .methods import METHODS
from .subjects import ROOT, subjects
from .table import markdown

PAGE = ROOT / "docs" / "repair-benchmark.md"


def main() -> None:
    """Evaluate cell after cell, a line each; what has been evaluated before is taken again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair", description=__doc__)
    parser.add_argument("--members", nargs="+", help="names; all where left out")
    parser.add_argument("--methods", nargs="+", help="names of methods; all where left out")
    parser.add_argument("--sick", action="store_true", help="leave the healthy ones out")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each subject")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing after that")
    parser.add_argument("--cells", type=Path, default=Path("benchmarks/results/repair.jsonl"))
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()

    methods = [m for m in METHODS if options.methods is None or m.name in options.methods]
    options.cells.parent.mkdir(parents=True, exist_ok=True)
    known = _read(options.cells)
    end = time.monotonic() + 60.0 * options.minutes
    pool = LocalPool(1)
    try:
        for seed in range(options.seeds):
            by_name = {each.name: each for each in subjects(seed)}
            for name in options.members or by_name:
                subject = by_name[name]
                if options.sick and not subject.sick:
                    continue
                if (subject.name, seed) in known or time.monotonic() > end:
                    continue
                began = time.monotonic()
                cell = known[subject.name, seed] = evaluate(subject, seed, pool, methods)
                with options.cells.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(cell.plain()) + "\n")
                print(f"{subject.name} {seed}: {time.monotonic() - began:.0f} s", flush=True)
    finally:
        pool.close()
    page = markdown(list(known.values()))
    print(page)
    if options.write:
        PAGE.write_text(page, "utf-8")


def _read(path: Path) -> dict[tuple[str, int], Cell]:
    if not path.exists():
        return {}
    lines = path.read_text("utf-8").splitlines()
    cells = [Cell.of(json.loads(line)) for line in lines]
    return {(cell.name, cell.seed): cell for cell in cells}


if __name__ == "__main__":
    main()

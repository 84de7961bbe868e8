"""Measure what observing costs and print one table with bars.

Usage: python -m benchmarks.cost [--short] [--write] [--only mlp,conv,...]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from . import commands, resources, steps
from .table import Row, line, markdown
from .workloads import convolutional, perceptron, transformer

_RESULTS = Path(__file__).parents[1] / "results.md"


def _sections(*, short: bool) -> dict[str, Callable[[], Iterator[Row]]]:
    """Return the measurements by the name that `--only` takes."""
    brief, long = (2.0, 4.0) if short else (6.0, 25.0)
    return {
        "tiny": lambda: steps.measure(perceptron(width=64, batch=64), tape_bar=None, seconds=brief),
        "mlp": lambda: steps.measure(perceptron(width=128, batch=256), tape_bar=3.0, seconds=brief),
        "conv": lambda: steps.measure(convolutional(), tape_bar=2.0, seconds=long),
        "transformer": lambda: steps.measure(transformer(), tape_bar=2.0, seconds=long),
        "memory": lambda: resources.memory(late=5_000 if short else 20_000),
        "disk": resources.disk,
        "commands": commands.start,
        "large": commands.large,
    }


def main() -> None:
    """Measure, print row by row, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--short", action="store_true", help="under three minutes, less exact")
    parser.add_argument("--write", action="store_true", help=f"also write {_RESULTS.name}")
    parser.add_argument("--only", default="", help="names of the measurements, with commas")
    options = parser.parse_args()

    torch.set_num_threads(1)
    sections = _sections(short=options.short)
    wanted = options.only.split(",") if options.only else list(sections)
    rows: list[Row] = []
    for name in wanted:
        for row in sections[name]():
            rows.append(row)
            print(line(row), flush=True)
    if options.write:
        _RESULTS.write_text(markdown(rows, short=options.short), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Make labelled trainings, diagnose them, write the confusion matrix.

Usage: python -m benchmarks.evaluation --set dev --seed 1 --minutes 10
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

from .case import Case, evaluate
from .configuration import MENUS
from .matrix import counts, markdown, rates


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Evaluate one configuration after another, on several processes, until the time is up."""
    end = time.monotonic() + 60 * options.minutes
    last = options.start + options.count
    index = options.start
    running: set[Future[Case]] = set()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        while True:
            while len(running) < options.workers and index < last and time.monotonic() < end:
                job = (options.name, options.seed, index, options.repeats)
                running.add(pool.submit(evaluate, *job, judged=not options.labels_only))
                index += 1
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def main() -> None:
    """Evaluate until the time is up; write after every configuration."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--set", choices=sorted(MENUS), default="dev", dest="name")
    parser.add_argument("--seed", type=int, default=0, help="draws the configurations")
    parser.add_argument("--minutes", type=float, default=10.0, help="time to spend")
    parser.add_argument("--count", type=int, default=10**6, help="configurations at most")
    parser.add_argument("--start", type=int, default=0, help="number of the first configuration")
    parser.add_argument("--repeats", type=int, default=3, help="seeds of each configuration")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--labels-only", action="store_true", help="find the truth, judge nothing")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    found: list[Case] = []
    for case in cases(options):
        found.append(case)
        print(case, flush=True)
        write(options, found)
    print(markdown([row for case in found for row in case.rows], heading(options)))


def heading(options: argparse.Namespace) -> str:
    """Return the title of the page."""
    return f"Evaluation: set {options.name}, seed {options.seed}"


def write(options: argparse.Namespace, found: list[Case]) -> None:
    """Write the page and the document, each whole or not at all."""
    ordered = sorted(found, key=lambda case: case.index)
    rows = [row for case in ordered for row in case.rows]
    document = {
        "set": options.name,
        "seed": options.seed,
        "matrix": counts(rows),
        "rates": rates(rows),
        "configurations": [asdict(case) for case in ordered],
    }
    stem = options.out / f"{options.name}-{options.seed}"
    for suffix, text in (
        (".json", json.dumps(_plain(document), indent=1)),
        (".md", markdown(rows, heading(options))),
    ):
        scratch = stem.with_suffix(".tmp")
        scratch.write_text(text, "utf-8")
        scratch.replace(stem.with_suffix(suffix))


def _plain(value: object) -> object:
    """Replace numbers that JSON cannot hold by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


if __name__ == "__main__":
    main()

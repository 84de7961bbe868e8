"""Repair the broken examples, and write their pages and pictures into docs/.

Usage: python -m benchmarks.repaired [CASE ...] --seeds 3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from . import page
from .cases import CASES
from .measure import repair


def main() -> None:
    """Write the pages of the cases that are named, of all where none is."""
    names = [case.script for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repaired", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(names))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    options = parser.parse_args()
    unknown = sorted(set(options.cases) - set(names))
    if unknown:
        parser.error(f"expected cases among {', '.join(names)}, got {', '.join(unknown)}")
    for case in CASES:
        if not options.cases or case.script in options.cases:
            with TemporaryDirectory(prefix="gradfuga-repaired-") as folder:
                found = repair(case, Path(folder), seeds=options.seeds, jobs=options.jobs)
            print(f"wrote {page.write(case, found)}")


if __name__ == "__main__":
    main()

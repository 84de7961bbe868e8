"""The table of results, on the terminal and in Markdown."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number; `bar` is the largest value that passes, None where it is reported."""

    where: str
    what: str
    value: float
    unit: str
    bar: float | None = None
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is at or under its bar."""
        return self.bar is None or self.value <= self.bar

    @property
    def verdict(self) -> str:
        """The bar and what came of it."""
        if self.bar is None:
            return "reported"
        return f"{'pass' if self.passed else 'MISS'} (at most {self.bar:g})"


def line(row: Row) -> str:
    """Return the row for a terminal."""
    return (
        f"{row.where:<32} {row.what:<34} {row.value:>9.3f} {row.unit:<12} "
        f"{row.verdict:<20} {row.detail}"
    )


def markdown(rows: Sequence[Row], *, short: bool) -> str:
    """Return the page that `--write` keeps."""
    import torch

    head = [
        "# What observing costs",
        "",
        "Made by `make bench`, which documents each measurement"
        f"{' (short mode: few repetitions)' if short else ''}. Ratios are medians over pairs of",
        "blocks, bare and observed steps in turn in one process, by the CPU time of the training",
        "thread; `wall` is the same ratio by the clock on the wall, other programs included. Under",
        "the default budget few steps are sampled: there it is the mean, with its standard error.",
        "",
        f"{datetime.date.today():%Y-%m-%d}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, one thread; "
        f"load average at the end {os.getloadavg()[1]:.1f} (1 is this program alone).",
        "",
        "| where | what | value | unit | bar | detail |",
        "|---|---|---:|---|---|---|",
    ]
    body = [
        f"| {row.where} | {row.what} | {row.value:.3f} | {row.unit} | {row.verdict} "
        f"| {row.detail} |"
        for row in rows
    ]
    missed = [row for row in rows if not row.passed]
    tail = [
        "",
        f"{len(missed)} of {sum(row.bar is not None for row in rows)} bars missed"
        + (": " + "; ".join(f"{row.what} ({row.where})" for row in missed) if missed else "")
        + ".",
        "",
    ]
    return "\n".join(head + body + tail)

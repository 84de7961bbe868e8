"""Turn the outcomes of the matrix into the page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._cell import EXACT, Cell, measure

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
COLUMNS = (
    "| set-up | gradient | update | clip coefficient | depth | to know |\n|---|---|---|---|---|---|"
)
SEVERAL = "## Several processes\n"  # the last table, which the tests of `tests/distributed` fill

HEAD = """# What is exact where

For each way to train: whether the norms that gradfuga records are those of the unscaled, pre-clip,
accumulated gradient of that optimizer step, and of the weights' real update. Every row is a test
in `tests/conformance` or `tests/distributed` that trains a small network and compares each step and
each parameter with a plain float64 loop without gradfuga. This page is written by those tests
(`python -m pytest tests/conformance tests/distributed --write-matrix`), and held to what they find.

* **exact**: within {exact:.0e} of the truth, the rounding of float32.
* **approximate**: the largest error allowed in the test. In half precision it is the training's own
  arithmetic that is off float64 mathematics; the reading is exact of the gradient that the training
  holds.
* **opaque**: not seen, and said so.
* **depth**: whether the gradient is followed through the network too, op by op.

In every row the trained weights are bit-equal to those of the same training without gradfuga, and
its optimizer steps are counted right.
"""


def status(error: float, bound: float) -> str:
    """Return the word for an error that may be as large as `bound`."""
    if error <= EXACT:
        return "exact"
    return f"approximate, {100 * bound:.2g} %" if error <= bound else "opaque"


def row(cell: Cell) -> str:
    """Return the cell's line of its table."""
    outcome = measure(cell)
    cells = (
        cell.name,
        status(outcome.gradient, cell.within),
        status(outcome.update, EXACT),
        status(outcome.clip, EXACT) if cell.seen else "opaque",
        "yes" if outcome.tape else "opaque",
        cell.note,
    )
    return "| " + " | ".join(cells).rstrip() + " |"


def page(cells: Sequence[Cell]) -> str:
    """Return the page without its last table: a table for each group."""
    lines = [HEAD.format(exact=EXACT)]
    for group in dict.fromkeys(cell.group for cell in cells):
        lines.append(f"## {group}\n")
        lines.append(COLUMNS)
        lines += [row(cell) for cell in cells if cell.group == group]
        lines.append("")
    return "\n".join([*lines, ""])


def settle(found: str, *, last: bool, write: bool) -> str:
    """Return what the page says now of the last table or of all before it, or write `found`."""
    before, _, after = PAGE.read_text("utf-8").partition(SEVERAL)
    if write:
        PAGE.write_text(before + SEVERAL + found if last else found + SEVERAL + after, "utf-8")
        return found
    return after if last else before

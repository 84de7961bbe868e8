"""The command `rules`: every rule and remedy, one a line."""

from __future__ import annotations

import sys


def rules() -> None:
    """List every rule and remedy, in English."""
    from rich.console import Console
    from rich.table import Table

    from ._knowledge import entries

    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    for heading in ("code", "name", "role"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it finds or changes", overflow="fold")
    for entry in entries().values():
        table.add_row(entry.code, entry.name, entry.role, entry.line)
    # One line an entry where a program reads it: as wide as it takes.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False, markup=False)
    console.print(table)

"""The command `explain`: what one rule or remedy is about."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from .._errors import UnknownCodeError
from .._messages import _

if TYPE_CHECKING:
    from ._knowledge import Entry

HEADINGS = frozenset(
    {
        "What it finds",
        "Why it matters",
        "Evidence",
        "What it changes",
        "Why it helps",
        "Safety",
        "Known limits",
        "References",
    }
)


def explain(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="A code such as GRD001, or a rule's name.")
    ],
) -> None:
    """Explain one rule or remedy, in English."""
    from rich.console import Console
    from rich.text import Text

    entry = _find(code)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(Text(f"{entry.code} {entry.name} ({entry.role})", style="bold"))
    console.print()
    for line in entry.text.splitlines():
        heading = line.strip(" *#:=-_") in HEADINGS
        console.print(Text(line, style="bold cyan" if heading else ""))


def _find(code: str) -> Entry:
    from ._knowledge import entries

    known = entries()
    asked = code.strip().casefold()
    by_word = {
        word.casefold(): entry for entry in known.values() for word in (entry.code, entry.name)
    }
    if asked in by_word:
        return by_word[asked]
    near = get_close_matches(asked, by_word, n=3, cutoff=0.5)
    raise UnknownCodeError(
        _("expected the code or name of a rule or remedy"),
        _("got '{code}'").format(code=code),
        _("Did you mean {near}?").format(near=", ".join(_shown(by_word[word]) for word in near))
        if near
        else _("See them all with: gradfuga rules."),
    )


def _shown(entry: Entry) -> str:
    return f"{entry.code} ({entry.name})"

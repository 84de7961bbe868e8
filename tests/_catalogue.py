"""The texts of the package with their Portuguese, as the catalogues hold them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

import gradfuga

PACKAGE = Path(gradfuga.__file__).parent
LOCALE = PACKAGE / "locale"


def ids(catalogue: Catalog) -> set[str | tuple[str, ...]]:
    return {message.id for message in catalogue if message.id}


def forms(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


@cache
def template() -> Catalog:
    with (LOCALE / "gradfuga.pot").open("rb") as file:
        return read_po(file)


@cache
def portuguese() -> Catalog:
    with (LOCALE / "pt_BR" / "LC_MESSAGES" / "gradfuga.po").open("rb") as file:
        return read_po(file, locale="pt_BR")


def pairs() -> Iterator[tuple[str, str]]:
    """Every English text with each Portuguese form of it."""
    for message in portuguese():
        if message.id:
            english = forms(message.id)
            for number, said in enumerate(forms(message.string)):
                yield english[min(number, len(english) - 1)], said

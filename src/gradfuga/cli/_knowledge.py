"""The rules and remedies, with the text that each file says of itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import cleandoc

from .._catalog import collect
from .._contracts import AbstractRemedy, AbstractRule


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule or remedy.

    Attributes:
        role: what a rule's finding is for the verdict; ``"remedy"`` for a remedy.
        text: the docstring of its file.
    """

    code: str
    name: str
    role: str
    text: str

    @property
    def line(self) -> str:
        """The first line of its text."""
        return self.text.partition("\n")[0]


def entries() -> Mapping[str, Entry]:
    """Return every rule, then every remedy, by code."""
    rules = collect("gradfuga.rules", "RULE", of=AbstractRule)  # type: ignore[type-abstract]
    remedies = collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy)  # type: ignore[type-abstract]
    known = [Entry(each.code, each.name, each.role.value, _text(each)) for each in rules.values()]
    known += [Entry(each.code, each.name, "remedy", _text(each)) for each in remedies.values()]
    return {each.code: each for each in known}


def _text(item: AbstractRule | AbstractRemedy) -> str:
    return cleandoc(sys.modules[type(item).__module__].__doc__ or "")

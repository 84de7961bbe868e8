"""Write the pieces that every part of the page is made of, the user's strings escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .._types import SourceLine
from . import _words as words


def safe(text: str) -> str:
    """Return `text` as HTML text: on one line, without control characters, escaped."""
    return escape(words.clean(text), quote=True)


def card(title: str, body: str, caption: str, *, tag: str = "article") -> str:
    """Return a titled card, nothing where it has neither body nor caption."""
    if not body and not caption:
        return ""
    about = f"<p class='caption'>{safe(caption)}</p>" if caption else ""
    return f"<{tag} class='card'><h2>{safe(title)}</h2>{about}{body}</{tag}>\n"


def code(lines: Iterable[SourceLine]) -> str:
    """Return source lines with their places."""
    rows = "".join(
        f"<div><span>{safe(words.short_file(line.file))}:{line.line}</span>"
        f"<code>{safe(line.text.rstrip())}</code></div>"
        for line in lines
    )
    return f"<div class='code'>{rows}</div>"

"""Say every text that users read in the language they chose (gettext)."""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ._errors import UsageError

LANGUAGES = ("en", "pt-BR")
_LOCALE_FOLDER = Path(__file__).parent / "locale"
_translations: ContextVar[gettext.NullTranslations] = ContextVar(
    "gradfuga_translations",
    default=gettext.NullTranslations(),  # noqa: B039 (never mutated)
)


def _(message: str) -> str:
    """Translate `message` into the language in use; the English text is its key."""
    return _translations.get().gettext(message)


def _n(singular: str, plural: str, count: int) -> str:
    """Translate the form that goes with `count`; the two English texts are its key."""
    return _translations.get().ngettext(singular, plural, count)


@contextmanager
def language(name: str) -> Iterator[None]:
    """Speak `name` (``"en"`` or ``"pt-BR"``) inside the block.

    Raises:
        UsageError: the language is not one of `LANGUAGES`.
    """
    if name not in LANGUAGES:
        raise UsageError(
            f"expected a language out of {', '.join(LANGUAGES)}",
            f"got '{name}'",
            "Write --lang en or --lang pt-BR.",
        )
    chosen = gettext.translation(
        "gradfuga", _LOCALE_FOLDER, languages=[name.replace("-", "_")], fallback=True
    )
    token = _translations.set(chosen)
    try:
        yield
    finally:
        _translations.reset(token)

"""Every text has its Portuguese: the catalogues against the sources and each other.

`make messages` runs this file.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from gettext import GNUTranslations
from string import Formatter

from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import read_mo

from _catalogue import LOCALE, PACKAGE, forms, ids, pairs, portuguese, template

KEYWORDS = {**DEFAULT_KEYWORDS, "_n": (1, 2)}


def test_the_catalogue_holds_the_texts_of_the_sources_and_no_others():
    found = extract_from_dir(PACKAGE, keywords=KEYWORDS, directory_filter=lambda _folder: True)
    extracted = {text for _file, _line, text, _comments, _context in found}
    assert len(extracted) > 300
    assert ids(template()) == extracted, "run `make messages`"
    assert ids(portuguese()) == extracted, "run `make messages`"


def test_the_catalogue_misses_no_call_that_translates():
    """The extractor skips what it cannot read, such as a call inside an f-string."""
    known = ids(template())
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id not in ("_", "_n"):
                continue
            texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
            key = texts[0] if node.func.id == "_" else tuple(texts)
            assert key in known, f"{file.name}:{node.lineno}"


def test_the_catalogue_is_translated_whole_and_nothing_in_it_is_a_guess():
    fuzzy = [message.id for message in portuguese() if message.id and message.fuzzy]
    empty = [
        message.id
        for message in portuguese()
        if message.id and not (message.string and all(forms(message.string)))
    ]
    assert not fuzzy
    assert not empty
    assert not portuguese().obsolete


def fields(text: str) -> Counter[tuple[str | None, str | None, str | None]]:
    """The placeholders of `text`, with what formats them."""
    parsed = Formatter().parse(text)
    return Counter((name, spec, conversion) for _lit, name, spec, conversion in parsed if name)


def code_words(text: str) -> Counter[str]:
    """What a user would type: options, calls, names with dots or underscores, extras."""
    return Counter(re.findall(r"--[a-z-]+|[\w.]+\(\)|\w+_\w+|gradfuga\[\w+\]|`[^`]*`", text))


def test_the_catalogue_keeps_every_placeholder_and_every_word_of_code():
    for english, said in pairs():
        assert fields(said) == fields(english), english
        assert code_words(said) == code_words(english), english


def test_the_catalogue_keeps_how_texts_are_joined():
    """A text may be continued by another one: its ends are part of the grammar."""
    for english, said in pairs():
        assert (said[0] in ", ") == (english[0] in ", "), english
        assert (said[-1] in ".?") == (english[-1] in ".?"), english
        assert said == said.strip(), english
        # "40 milhões de" wants its noun right behind it
        counted = r"\{(\w+)\} times (?!as )"
        wanted = [f"{{{name}}} vezes " for name in re.findall(counted, f"{english} ")]
        assert all(each in f"{said} ".replace(",", " ") for each in wanted), english


def test_the_compiled_catalogue_is_that_of_the_texts():
    place = LOCALE / "pt_BR" / "LC_MESSAGES" / "gradfuga.mo"
    with place.open("rb") as file:
        compiled = GNUTranslations(file)
    with place.open("rb") as file:
        assert len(read_mo(file)) == len(portuguese()), "run `make messages`"
    for message in portuguese():
        if isinstance(message.id, str):
            assert not message.id or compiled.gettext(message.id) == message.string
        else:
            said = tuple(compiled.ngettext(*message.id, count) for count in (1, 2))
            assert said == tuple(message.string)

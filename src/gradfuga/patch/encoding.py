"""Read and write Python source in the encoding that the file itself declares (PEP 263)."""

from __future__ import annotations

import io
import tokenize

_MARK = "\ufeff"  # a byte order mark; it stays in the text, as git counts it to the first line


def decoded(raw: bytes) -> str:
    r"""Return the text of a source file, line ends and byte order mark kept.

    Raises:
        UnicodeDecodeError: it is not in the encoding that it declares.
        SyntaxError: it declares one that does not exist.

    Example:
        >>> decoded(b"# coding: latin-1\r\n# \xe9\r\n")
        '# coding: latin-1\r\n# é\r\n'
    """
    return raw.decode(encoding_of(raw.decode("ascii", "replace")))


def encoded(text: str) -> bytes:
    """Return what `decoded` reads as `text`.

    Raises:
        UnicodeEncodeError: the text holds what its encoding lacks.
        SyntaxError: it declares an encoding that does not exist.
    """
    return text.encode(encoding_of(text))


def encoding_of(text: str) -> str:
    """Return the encoding that a source declares in its first two lines, else UTF-8.

    Raises:
        SyntaxError: there is no such encoding.
    """
    start = io.BytesIO(text.removeprefix(_MARK).encode("ascii", "replace"))
    return tokenize.detect_encoding(start.readline)[0]

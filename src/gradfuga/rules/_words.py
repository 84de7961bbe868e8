"""Write sizes the way a person says them."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.words import times as times


def plain(value: float) -> str:
    """Return `value` with three digits.

    Example:
        >>> plain(0.0012345), plain(1234567.0), plain(20.0)
        ('0.00123', '1.23e+06', '20')
    """
    return f"{value:.3g}"


def quoted(paths: Sequence[str], *, most: int = 3) -> str:
    """Return the first paths in quotation marks, with dots for the others.

    Example:
        >>> quoted(("a", "b", "c", "d"))
        "'a', 'b', 'c', ..."
    """
    shown = ", ".join(f"'{path}'" for path in paths[:most])
    return f"{shown}, ..." if len(paths) > most else shown

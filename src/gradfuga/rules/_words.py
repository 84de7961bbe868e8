"""Write sizes the way a person says them."""

from __future__ import annotations

from collections.abc import Sequence

_PLAIN = 4.0  # decades; beyond, a power of ten is read more easily than its zeros


def times(decades: float) -> str:
    """Return the factor that `decades` stand for, without its direction.

    Example:
        >>> times(-0.3), times(1.3), times(-7.6)
        ('2.0', '20', '10^7.6')
    """
    size = abs(decades)
    if size < 1.0:
        return f"{10.0**size:.1f}"
    return f"{10.0**size:.0f}" if size < _PLAIN else f"10^{size:.1f}"


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

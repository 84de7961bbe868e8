"""Thin long series and large grids so that a page stays small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

MOST_POINTS = 2_000  # chosen: more than a wide screen has columns
MOST_STEPS, MOST_LAYERS = 400, 300  # chosen: about a pixel each


@dataclass(frozen=True, slots=True)
class Envelope:
    """A thinned curve: mean, lowest and highest of each stretch, at its middle; all `[K]`."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def envelope(x: Floats, y: Floats, *, most: int = MOST_POINTS) -> Envelope:
    """Thin the curve `y` over `x`, both `[N]`, to `most` points; what is not finite is left out."""
    read = np.isfinite(y)
    x, y = np.asarray(x, dtype=np.float64)[read], y[read]
    if len(y) <= most:
        return Envelope(x, y, y, y)
    starts = _edges(len(y), most)[:-1]
    counts = np.diff([*starts, len(y)])
    return Envelope(
        np.add.reduceat(x, starts) / counts,
        np.add.reduceat(y, starts) / counts,
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
    )


def spread_out(length: int, most: int) -> list[int]:
    """Return at most `most` indices below `length`, evenly, the first and last among them."""
    if length <= most:
        return list(range(length))
    return sorted({round(index) for index in np.linspace(0, length - 1, most)})


def grid(values: Floats, *, most_rows: int = MOST_STEPS, most_columns: int = MOST_LAYERS) -> Floats:
    """Thin `values` `[S, L]` to at most `[most_rows, most_columns]`.

    Each block keeps its value of largest size, so that one sick layer or step stays in sight;
    NaN only where the whole block is NaN.
    """
    return _extreme(_extreme(values, most_rows).T, most_columns).T


def _extreme(values: Floats, most: int) -> Floats:
    """Thin the rows of `values` to at most `most`, keeping the largest size of each block."""
    if len(values) <= most:
        return values
    starts = _edges(len(values), most)[:-1]
    size = np.where(np.isnan(values), 0.0, values)
    low = np.minimum.reduceat(size, starts, axis=0)
    high = np.maximum.reduceat(size, starts, axis=0)
    kept = np.where(-low > high, low, high)
    read = np.logical_or.reduceat(~np.isnan(values), starts, axis=0)
    thinned: Floats = np.where(read, kept, np.nan)
    return thinned


def _edges(length: int, parts: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.linspace(0, length, parts + 1).astype(np.int64)

"""How much the optimizer moves the weights over the whole run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._samples import median

if TYPE_CHECKING:
    from ..analysis.case import Case


@dataclass(frozen=True, slots=True)
class Fed:
    """A layer and the update ratio that it gets, summed over a run of this length."""

    path: str
    feed: float


def feeds(case: Case) -> tuple[Fed, ...]:
    """Return every layer's feed: the median update ratio of the samples times the steps."""
    rows = case.update_ratio.tolist()
    out = []
    for column, layer in enumerate(case.layers):
        ratio = median(row[column] for row in rows)
        if math.isfinite(ratio):
            out.append(Fed(layer.path, ratio * case.total_steps))
    return tuple(out)


def best_fed(case: Case) -> Fed | None:
    """Return the layer with the largest single update ratio, that ratio times the steps."""
    best: Fed | None = None
    for row in case.update_ratio.tolist():
        for layer, ratio in zip(case.layers, row, strict=True):
            if math.isfinite(ratio) and (best is None or ratio * case.total_steps > best.feed):
                best = Fed(layer.path, ratio * case.total_steps)
    return best


def largest_ratio(case: Case, *, before: float = math.inf) -> tuple[str, int, float]:
    """Return the layer and the sample before step `before` with the largest update ratio."""
    best = ("", 0, 0.0)
    for step, row in zip(case.steps, case.update_ratio.tolist(), strict=True):
        if step >= before:
            break
        for layer, ratio in zip(case.layers, row, strict=True):
            if math.isfinite(ratio) and ratio > best[2]:
                best = (layer.path, step, ratio)
    return best

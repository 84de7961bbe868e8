"""Reach of the layers that feed what lies below them, sample by sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Evidence, Kind
from ._samples import late_steps, median

if TYPE_CHECKING:
    from ..analysis.case import Case


@dataclass(frozen=True, slots=True)
class Reached:
    """The reach of one layer at a step, or over the samples up to it, in decades."""

    path: str
    step: int
    decades: float


def at_sample(case: Case, place: int) -> tuple[Reached, ...]:
    """Return the finite reach of every layer that is not gated, at sample number `place`."""
    row = case.reach[place].tolist()
    return tuple(
        Reached(layer.path, case.steps[place], value)
        for layer, value in zip(case.layers, row, strict=True)
        if math.isfinite(value) and not layer.gated
    )


def at_start(case: Case) -> tuple[Reached, ...]:
    """Return the reach at the first sample, nothing where there is none."""
    return at_sample(case, 0) if case.steps else ()


def over_late(case: Case) -> tuple[Reached, ...]:
    """Return the median reach over the last samples of the run."""
    return _medians(case, frozenset(late_steps(case)))


def over_all(case: Case) -> tuple[Reached, ...]:
    """Return the median reach over all samples."""
    return _medians(case, frozenset(case.steps))


def _medians(case: Case, steps: frozenset[int]) -> tuple[Reached, ...]:
    if not steps:
        return ()
    rows = [row for step, row in zip(case.steps, case.reach.tolist(), strict=True) if step in steps]
    out = []
    for column, layer in enumerate(case.layers):
        value = median(row[column] for row in rows)
        if math.isfinite(value) and not layer.gated:
            out.append(Reached(layer.path, max(steps), value))
    return tuple(out)


def highest(reached: tuple[Reached, ...]) -> float:
    """Return the highest reach, -inf where there is none."""
    return max((each.decades for each in reached), default=-math.inf)


def lowest(reached: tuple[Reached, ...]) -> float:
    """Return the lowest reach, +inf where there is none."""
    return min((each.decades for each in reached), default=math.inf)


def evidence_of(reached: tuple[Reached, ...], *, limit: float) -> tuple[Evidence, ...]:
    """Return the first four layers' reach against the limit."""
    return tuple(
        Evidence(
            each.path, Kind.ACTIVATION_GRAD, "reach", each.step, each.decades, limit, "decades"
        )
        for each in reached[:4]
    )

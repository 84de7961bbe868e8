"""Measure the noise that dropout adds to the gradient on its way through a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from .case import Case


def dropout_noise(case: Case) -> float:
    """Return by how many decades dropout makes the gradient of one example larger than its mean.

    A mask of 0 and 1 / (1 - p) keeps the mean of a gradient, and takes its mean square to
    1 / (1 - p) times that. Masks are independent: along the main line the decades add.
    """
    if not case.steps:
        return 0.0
    return sum(_decades(case, path) for path in dropouts(case))


def dropouts(case: Case) -> tuple[str, ...]:
    """Return the paths of the dropouts on the main line, at the first sample."""
    line = (case.graph.ops[index].path for index in case.line)
    return tuple(path for path in line if _share(case, path) is not None)


def _share(case: Case, path: str) -> float | None:
    return case.readings.at(case.steps[0], path, Kind.ACTIVATION, "dropped_share")


def _decades(case: Case, path: str) -> float:
    p = _share(case, path) or 0.0
    return -0.5 * math.log10(1.0 - p) if p < 1.0 else math.inf

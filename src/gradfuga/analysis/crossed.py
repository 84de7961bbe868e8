"""Find a loss that holds every prediction against every target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from .case import Case

_MOST_AXES = 8


@dataclass(frozen=True, slots=True)
class Crossed:
    """A loss whose predictions and targets broadcasting has crossed.

    Attributes:
        path: of the loss op.
        prediction: shape of the predictions, without leading axes of 1.
        target: shape of the targets, likewise.
        step: the first sample that shows it.
    """

    path: str
    prediction: tuple[int, ...]
    target: tuple[int, ...]
    step: int


def crossed_targets(case: Case) -> Crossed | None:
    """Return the first loss term of crossed shapes, None where there is none."""
    paths = case.readings.paths(Kind.LOSS, "target_size.0")
    if not paths:
        return None
    steps, _ = case.readings.series(paths[0], Kind.LOSS, "target_size.0")
    step = int(steps[0])
    prediction = _trimmed(case, paths[0], step, "prediction_size")
    target = _trimmed(case, paths[0], step, "target_size")
    return Crossed(paths[0], prediction, target, step)


def _trimmed(case: Case, path: str, step: int, statistic: str) -> tuple[int, ...]:
    found: list[int] = []
    for axis in range(_MOST_AXES):
        size = case.readings.at(step, path, Kind.LOSS, f"{statistic}.{axis}")
        if size is None:
            break
        if found or size > 1:
            found.append(int(size))
    return tuple(found)

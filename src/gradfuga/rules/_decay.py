"""Whether weight decay pulls harder than the gradient pushes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind
from ._reach import lowest, over_late
from ._samples import late_median

if TYPE_CHECKING:
    from ..analysis.case import Case

SHRUNK = 0.5  # of its first norm (decision rule: a weight below half its norm)
_DECOUPLED = frozenset({"AdamW", "Lion", "Adafactor"})  # the decay acts beside the gradient


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A weight that has shrunk: its path, first and last norm, and the last step read.

    `pull` is what decay takes off the weight over what the gradient moves it.
    """

    path: str
    first: float
    last: float
    step: int
    pull: float


def shrunk_weights(case: Case, *, below: float = SHRUNK) -> tuple[Shrunk, ...]:
    """Return the weights that weight decay has shrunk below `below` of their first norm."""
    decay = case.record.settings.get("weight_decay", 0.0)
    if decay <= 0.0:
        return ()
    found = []
    for layer in case.layers:
        steps, values = case.readings.series(layer.weight, Kind.WEIGHT, "norm")
        if values.size > 1 and float(values[-1]) < below * float(values[0]):
            pull = _pull(case, layer.weight, decay)
            found.append(
                Shrunk(layer.weight, float(values[0]), float(values[-1]), int(steps[-1]), pull)
            )
    return tuple(found)


def _pull(case: Case, weight: str, decay: float) -> float:
    """Return the late decay of a weight over what the gradient does to it."""
    norm = late_median(case, weight, Kind.WEIGHT, "norm")
    if case.record.optimizer in _DECOUPLED:
        rate = case.record.settings.get("lr", 0.0)
        moved = late_median(case, weight, Kind.UPDATE, "norm")
        pulled = rate * decay * norm
        return pulled / max(moved - pulled, 1e-300)
    gradient = late_median(case, weight, Kind.WEIGHT_GRAD, "norm")
    return decay * norm / max(gradient, 1e-300)


def decay_wins(case: Case, *, below: float = SHRUNK, limit: float = 1.30) -> tuple[Shrunk, ...]:
    """Return the shrunk weights where decay outdoes the gradient, or starves what lies below."""
    shrunk = shrunk_weights(case, below=below)
    starves = lowest(over_late(case)) < -limit
    return tuple(each for each in shrunk if starves or each.pull > 1.0)

"""Find layers whose units are all the same, and stay so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from .case import Case

# A head or a branch that starts at zero has moved by the second look, however the rate warms up.
_FEWEST_LOOKS = 3
_STATISTIC = "units_alike"
MOST_ALIKE = 0.5  # of the weights, by count: a network that is held back (decision rule)


@dataclass(frozen=True, slots=True)
class Alike:
    """Trainable weights whose units are all the same, at every look.

    Attributes:
        weights: their names.
        of: how many weights of dim > 1 were looked at.
        step: of the last look.
    """

    weights: tuple[str, ...]
    of: int
    step: int

    @property
    def share(self) -> float:
        """Their share by count, 0 where there are none at all."""
        return len(self.weights) / self.of if self.of else 0.0


def stays_alike(case: Case) -> Alike | None:
    """Return what keeps half or more of a network that has not learned well from differing."""
    if not case.progress.known or case.progress.well:
        return None
    trains = {p.path for p in case.record.parameters if p.trainable and p.optimized}
    found, of, last = [], 0, 0
    for path in case.readings.paths(Kind.WEIGHT, _STATISTIC):
        steps, values = case.readings.series(path, Kind.WEIGHT, _STATISTIC)
        if path not in trains or steps.size < _FEWEST_LOOKS:
            continue
        of, last = of + 1, max(last, int(steps[-1]))
        if (values == 1.0).all():
            found.append(path)
    alike = Alike(tuple(found), of, last)
    return alike if alike.share >= MOST_ALIKE else None

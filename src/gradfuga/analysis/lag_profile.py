"""LagProfile: the gradient against the lag in one recurrence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._types import Kind
    from ..readings import Readings

_TINY = 1e-280  # beyond, float64 itself runs out


@dataclass(frozen=True, slots=True)
class LagProfile:
    """The gradient against the lag in one recurrence at one time of the training.

    Attributes:
        path: dotted name of the recurrent weight.
        direction: "forward" or "backward" in time.
        lag: in steps before the loss.
        norm: the gradient at the joint state there, against that at the loss.
        spread: over the examples, in decades.
        rate: its gain per step, fitted over the lags; NaN where there are too few.
        horizon: the first lag at which it has fallen by 1e-3 from lag 1, between two measured lags
            by interpolation; inf where it does not fall that far within the sequence.
        steps: length of the sequence.
        cut: steps through which a gradient flows at all, where `detach` cuts it.
        step: of the training at which it was measured.
        continued: whether its first state is the last one of another recurrence: a decoder's.
    """

    path: str
    direction: str
    lag: tuple[int, ...]
    norm: tuple[float, ...]
    spread: tuple[float, ...]
    rate: float
    horizon: float
    steps: int
    cut: int | None
    step: int
    continued: bool = False

    @property
    def reach(self) -> float:
        """Steps back that the gradient reaches: the horizon, or the cut where that is nearer."""
        return self.horizon if self.cut is None else min(self.horizon, float(self.cut))

    @property
    def growth(self) -> float:
        """The largest decades by which the gradient has grown since lag 1; 0 where it shrinks."""
        start = max(self.norm[0], _TINY) if self.norm else 1.0
        if math.inf in self.norm:
            return math.inf
        decades = [math.log10(value) - math.log10(start) for value in self.norm if value > 0.0]
        return max(0.0, *decades, 0.0)

    def at(self, statistic: str, kind: Kind, readings: Readings) -> float:
        """Return another statistic of the recurrence at the same step, or before; NaN if none."""
        steps, values = readings.series(self.path, kind, statistic)
        before = values[steps <= self.step]
        return float(before[-1]) if before.size else (float(values[0]) if values.size else math.nan)


def joint_reach(profiles: Sequence[LagProfile]) -> float:
    """Return how many steps back recurrences reach together, NaN without one that is known.

    That of the farthest; where one goes on from the state of another, and its gradient reaches
    its own start, those steps and the other's.
    """
    known = [each for each in profiles if not math.isnan(each.reach)]
    encoders = [each.reach for each in known if not each.continued]
    decoders = [each for each in known if each.continued]
    if not encoders or not decoders:
        return max((each.reach for each in known), default=math.nan)
    passed = max((each.steps for each in decoders if math.isinf(each.reach)), default=0)
    faded = [each.reach for each in decoders if math.isfinite(each.reach)]
    return max([max(encoders) + passed, *faded])


def joint_steps(profiles: Sequence[LagProfile]) -> int:
    """Return the length of the sequences, an encoder's and its decoder's together."""
    encoders = max((each.steps for each in profiles if not each.continued), default=0)
    decoders = max((each.steps for each in profiles if each.continued), default=0)
    return encoders + decoders

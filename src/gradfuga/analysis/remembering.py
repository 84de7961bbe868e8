"""Does the network remember as far back as its task asks, and does its gradient stay finite?

A gradient that fades over time is no illness by itself: most tasks need a short memory. It is one
where the loss stays at what a model of that memory can reach while a longer memory would reach
more, or where the user says how far back the task reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from .._types import Kind
from .lag_profile import LagProfile, joint_reach, joint_steps

if TYPE_CHECKING:
    from ..readings import Readings
    from .case import Case

# The same limit as over depth: six scales, e^-3 (see build.REACH_LIMIT).
GROWTH_LIMIT = 1.30
# A model that sees more than the last H steps must do better by this much, and by three standard
# errors: random labels show .00 at 512 examples, a sum over 60 steps of which 14 are seen .17.
WORTH_MORE = 0.1
WORTH_ERRORS = 3.0
# A network this far on the way from the one to the other uses more than its last H steps (chosen:
# a quarter, so that one which has begun to learn is let go on).
BEGUN = 0.25
SHORT_ENOUGH = 0.05  # what H steps permit, when a network that learns nothing is held against it
_MOSTLY = 0.5  # of the decades: then it is time's doing
HALF_THE_WAY = 0.5  # a network that has come so far is not accused because of a stated lag


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of memory in one training.

    Attributes:
        reach: steps back that the gradient reaches at the end of the run; NaN where no
            recurrence could be opened, inf where it reaches all.
        steps: length of the sequences; of a state that goes on where its gradient is cut, those
            that were put together from the pieces, where they could be.
        needed: steps back that the task needs: as the user says, or at least, as the examples
            show; 0 where nothing shows.
        stated: whether the user says so.
        short: progress of a model that sees the last `reach` steps; NaN where unknown.
        long: progress of a model that sees more.
        reached: the network's own on the same examples.
        stays: whether that stays at `short`.
        cut: whether the state goes on where its gradient does not.
    """

    reach: float
    steps: int
    needed: int
    stated: bool
    short: float
    long: float
    reached: float
    stays: bool
    cut: bool

    @property
    def too_short(self) -> bool:
        """Whether the task asks for more steps than the gradient reaches, and that it shows."""
        return self.needed > self.reach and self.stays

    @property
    def open(self) -> bool:
        """Whether the gradient does not reach all steps, and nobody knows how many are needed."""
        enough = self.reach >= self.steps - 1 and not self.cut
        told = self.needed > 0 or self.short > SHORT_ENOUGH
        return not enough and not told


def memory_of(case: Case) -> Memory:
    """Return what is known of memory in `case`."""
    late = case.late_lags
    reach, steps = joint_reach(late), joint_steps(late)
    if case.lag is not None and steps and case.lag >= steps:
        reach = min(reach, float(steps - 1))  # nothing flows from beyond the sequence
    values = {
        name: _last(case.readings, name)
        for name in (
            "short_memory",
            "long_memory",
            "memory_error",
            "telling_lag",
            "assumed_horizon",
            "memory_way",
            "memory_per_step",
            "memory_steps",
        )
    }
    short, long = values["short_memory"], values["long_memory"]
    progress = case.progress
    worth = long - short > max(WORTH_MORE, WORTH_ERRORS * values["memory_error"])
    # where steps have targets of their own, most may need no memory: the loss of them all says
    # little about those that do
    way = values["memory_way"]
    if values["memory_per_step"] > 0.0:
        reached, error = short + way * (long - short), 0.0
    else:
        reached, error = progress.u, progress.error if progress.known else 0.0
    needed = 0
    if case.lag is not None:
        needed = case.lag
        # a network that learns what there is to learn remembers, whatever the probe says
        learned = progress.known and progress.informed and progress.u >= HALF_THE_WAY
        if way == way:  # noqa: PLR0124 (known)
            learned = way >= HALF_THE_WAY
        stays = not learned and not (progress.known and progress.falling)
    else:
        if worth:
            needed = int(max(values["telling_lag"], values["assumed_horizon"] + 1.0))
        bound = short + BEGUN * (long - short) + 2.0 * error
        stays = worth and progress.known and reached <= bound and not _still_going(case)
    cut = any(each.cut is not None for each in late)
    if cut and values["memory_steps"] > steps:
        steps = int(values["memory_steps"])
    return Memory(reach, steps, needed, case.lag is not None, short, long, reached, stays, cut)


def expands(case: Case) -> bool:
    """Whether the gradient grew along time before any update, by more than the limit."""
    return any(each.growth > GROWTH_LIMIT for each in case.first_lags)


def along_depth(case: Case, decades: float) -> bool:
    """Whether a reach of `decades` is more than what the gradient grows along time."""
    grown = max((each.growth for each in case.first_lags), default=0.0)
    return grown < _MOSTLY * decades


def expanding(case: Case) -> tuple[LagProfile, ...]:
    """Return the recurrences along which the gradient grew before any update."""
    return tuple(each for each in case.first_lags if each.growth > GROWTH_LIMIT)


def opened(case: Case) -> bool:
    """Whether the model has a time axis that could be measured."""
    return bool(case.late_lags)


def _still_going(case: Case) -> bool:
    """Whether a network that has learned something is still on its way."""
    return case.progress.informed and case.progress.falling


def _last(readings: Readings, statistic: str) -> float:
    values = readings.series("loss", Kind.LOSS, statistic)[1]
    return float(values[-1]) if values.size else math.nan


def heavy_tail(case: Case) -> float:
    """Return the largest sampled gradient norm over the median one; NaN where unread."""
    totals: dict[int, float] = {}
    for path in case.readings.paths(Kind.WEIGHT_GRAD, "norm"):
        for step, value in zip(*case.readings.series(path, Kind.WEIGHT_GRAD, "norm"), strict=True):
            if math.isfinite(value):
                totals[int(step)] = math.hypot(totals.get(int(step), 0.0), float(value))
    if not totals:
        return math.nan
    middle = median(totals.values())
    return max(totals.values()) / middle if middle > 0.0 else math.nan

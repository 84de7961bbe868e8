"""Decide which steps are sampled, so that the observer keeps to its budget."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import final

# The start-up samples, whatever they cost: a run of 200 steps is judged too. The steps grow by
# the square root of two, so that a short run has several in each of its quarters.
STARTUP_SAMPLES = 20
STARTUP_SECONDS = 5.0
_GRID = frozenset({0, 1, *(round(2 ** (power / 2)) for power in range(2, 64))})
_BURST = (1, 2, 4, 8)  # steps after something moved
_BURST_DEBT = 4  # samples that a burst may borrow from the budget
_RECENT = 32
# Glimpses may take this long whatever that costs, as start-up samples may, and then this part of
# the budget. A plain loss is read in 30 to 50 us (measured): a run's few hundred take a tenth.
_GLIMPSE_SECONDS = 0.5
_GLIMPSE_SHARE = 0.25


@final
class Cadence:
    """When to sample: every N-th step, or as often as a budget of overhead allows.

    Args:
        budget: the observer's time over the bare training's, such as 0.01.
        every: sample each N-th step instead.
    """

    def __init__(self, *, budget: float = 0.01, every: int | None = None) -> None:
        self.budget = budget
        self.every = every
        self.samples = 0
        self.startup_seconds = 0.0
        self.startup_samples = 0
        self.glimpse_seconds = 0.0
        self.spent = 0.0  # seconds of ours, start-up left out
        self.bare = 0.0  # seconds of the training's own
        self._bare_steps: deque[float] = deque(maxlen=_RECENT)
        self._cost = 0.0  # of one sample, smoothed
        self._burst: set[int] = set()

    @property
    def step_seconds(self) -> float:
        """Median of the recent bare steps, 0 before one was seen."""
        return median(self._bare_steps) if self._bare_steps else 0.0

    @property
    def overhead(self) -> float:
        """All of the observer's time over the bare training's."""
        ours = self.startup_seconds + self.glimpse_seconds
        return (self.spent + ours) / self.bare if self.bare > 0 else 0.0

    @property
    def affords_glimpse(self) -> bool:
        """Whether one more glimpse keeps all of them within their part of the budget."""
        allowed = max(_GLIMPSE_SECONDS, _GLIMPSE_SHARE * self.budget * self.bare)
        return self.glimpse_seconds < allowed

    def due(self, step: int) -> bool:
        """Whether `step`, the next one, is to be sampled."""
        return self._due(step, credit=self.budget * self.bare - self.spent)

    def next_due(self, step: int, *, until: int) -> int:
        """Return the first step after `step` that will be due, as far as can be told now.

        -1 where none is due up to `until`.
        """
        for ahead in range(1, until - step + 1):
            bare = self.bare + (ahead - 1) * self.step_seconds
            if self._due(step + ahead, credit=self.budget * bare - self.spent):
                return step + ahead
        return -1

    def _due(self, step: int, *, credit: float) -> bool:
        if self.every is not None:
            return step % self.every == 0
        if self._in_startup and step in _GRID:
            return True
        if step in self._burst:
            return credit > -_BURST_DEBT * self._cost
        return self.samples > 0 and self._cost > 0 and credit >= self._cost

    @property
    def _in_startup(self) -> bool:
        return self.startup_samples < STARTUP_SAMPLES and self.startup_seconds < STARTUP_SECONDS

    def note(
        self, step: int, *, seconds: float, ours: float, sampled: bool, glimpsed: float = 0.0
    ) -> None:
        """Learn from one finished step.

        Args:
            step: its number.
            seconds: how long it took, ours included.
            ours: how long our own code ran in it, as far as it is timed from inside.
            sampled: whether it was sampled.
            glimpsed: the part of `ours` that a glimpse took. Glimpses grow rarer with the steps,
                as start-up samples do, and have a bound of their own.
        """
        if not sampled:
            self._bare_steps.append(seconds - ours)
            self.bare += max(seconds - ours, 0.0)
            self.spent += ours - glimpsed
            self.glimpse_seconds += glimpsed
            return
        # what the hooks cost outside our own code shows only as a longer step; an epoch's end
        # in the same step must not be charged to us, hence the bound
        cost = ours
        if self._bare_steps:
            cost = min(max(ours, seconds - self.step_seconds), max(3.0 * ours, self.step_seconds))
        self.samples += 1
        self.bare += max(seconds - cost, 0.0)
        if self.every is None and self._in_startup and step in _GRID:
            self.startup_samples += 1
            self.startup_seconds += cost
        else:
            self.spent += cost
        self._cost = cost if self._cost == 0.0 else 0.7 * self._cost + 0.3 * cost
        self._burst = {each for each in self._burst if each > step}

    def stir(self, step: int) -> None:
        """Something moved at `step`: sample densely for a while."""
        if not self._burst:
            self._burst = {step + offset for offset in _BURST}

"""Read a budget, and lay out what it pays for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from .._errors import UsageError
from .._messages import _, _n

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|s|sec|min|m|h)\s*")
DEFAULT = "5min"
# Part of the time that the untreated run may take: it is read closely, and all else is planned
# by what it shows.
OBSERVED = 0.15
FEWEST_STEPS = 20  # the rules' own `fewest_steps`: shorter runs are trials, not trainings
# Chosen: so much to try, from generous to little; the first that leaves each training ENOUGH
# steps (or as many as the script has) is taken. Five seeds are the fewest whose exact test can
# reach 5 % (1/32).
_PLANS = ((8, 5), (6, 5), (4, 5), (4, 4), (3, 3), (2, 2))
_ENOUGH = 200
_IDLE = 0.85  # part of the time that the processes are kept busy: arms wait for one another


@dataclass(frozen=True, slots=True)
class Budget:
    """What a trial may take: seconds in all, or steps of each training."""

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def read(cls, text: str) -> Budget:
        """Read ``"5min"``, ``"90s"``, ``"2h"`` or ``"300steps"``.

        Raises:
            UsageError: it is none of these.

        Example:
            >>> Budget.read("5min").seconds, Budget.read("300steps").steps
            (300.0, 300)
        """
        found = _WRITTEN.fullmatch(text)
        number = float(found[1]) if found else 0.0
        if found is None or number <= 0:
            raise UsageError(
                _("expected a budget as a time, or as steps of each training"),
                _("got '{text}'").format(text=text),
                _("Write --budget 5min or --budget 300steps."),
            )
        if not found[2].startswith("step"):
            return cls(seconds=number * _UNITS[found[2]])
        if number < FEWEST_STEPS or number != int(number):
            raise UsageError(
                _("expected at least {count} steps for each training").format(count=FEWEST_STEPS),
                _("got '{text}'").format(text=text),
                _("Write --budget 300steps."),
            )
        return cls(steps=int(number))

    def __str__(self) -> str:
        if self.steps is not None:
            return _n("{count} step of each training", "{count} steps of each training",
                      self.steps).format(count=self.steps)  # fmt: skip
        seconds = self.seconds or 0.0
        if seconds >= 60.0:  # noqa: PLR2004 (seconds of a minute)
            return _("{minutes:g} minutes").format(minutes=round(seconds / 60.0, 1))
        return _("{seconds:g} seconds").format(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        steps: of each training; a script that ends earlier takes fewer.
        candidates: treatments that are trained with.
        seeds: pairs that decide.
        hurdle: the step by which a training must have learned something to go on; 0 for none.
    """

    steps: int
    candidates: int
    seeds: int
    hurdle: int


def plan(
    budget: Budget,
    *,
    left: float,
    jobs: int,
    seeds: int | None,
    candidates: int,
    startup_seconds: float,
    step_seconds: float,
    length: int,
) -> Plan:
    """Lay out a trial.

    Args:
        budget: what the user allows.
        left: seconds of it that are left.
        jobs: processes side by side.
        seeds: pairs that the user asks for, None for the plan's own.
        candidates: treatments that there are.
        startup_seconds: of one run, up to its first step.
        step_seconds: of one step.
        length: steps that the untreated run took, to its end or until it was cut off.
    """
    if budget.steps is not None:
        steps = min(budget.steps, length)
        number = min(candidates, _PLANS[0][0])
        return Plan(steps, number, seeds or _PLANS[0][1], _hurdle(steps))
    work = left * jobs * _IDLE
    chosen = Plan(0, 0, 0, 0)
    for many, pairs in _PLANS:
        number, pairs = min(many, candidates), seeds or pairs  # noqa: PLW2901 (as asked)
        # before training, first round, second round, two finalists, patch, random control,
        # untreated
        runs = 2 * number + math.ceil(number / 2) + 5 * pairs
        trainings = 0.25 * number + math.ceil(number / 2) + 5 * pairs
        affordable = (work - runs * startup_seconds) / max(trainings * step_seconds, 1e-9)
        steps = min(length, max(int(affordable), 0))
        chosen = Plan(steps, number, pairs, _hurdle(steps))
        if steps >= min(length, _ENOUGH):
            break
    return chosen


def _hurdle(steps: int) -> int:
    """A quarter of the slice, unless that is too short to learn anything in."""
    quarter = steps // 4
    return quarter if quarter >= FEWEST_STEPS else 0

"""Reasons for verdicts over time, each by a made-up training with a recurrence of 60 steps."""

import math

import numpy as np

from analysis.changes import low
from gradfuga._types import Axis, Kind, Severity, Verdict
from gradfuga.analysis.judgement import Judgement, Why
from rules.cases import BASELINE, STANDING, Training

LEARNER, IDLE = Training(), Training().that_learns_nothing()
LITTLE = tuple(float(each) for each in np.geomspace(BASELINE, 0.8 * BASELINE, 100))
POOR = LEARNER.with_losses(LITTLE).with_reference(0.9)
STUCK = POOR.with_losses([*LITTLE[::4], *[LITTLE[-1]] * 75])
OVERFLOWS = IDLE.with_losses([*STANDING[:50], *[math.nan] * 50])


def verdict(name, why, severity="none", axis=None):
    return Judgement(Verdict(name), Severity(severity), Axis(axis) if axis else None, why)


FLOWS = verdict("inconclusive", Why.FLOWS_UNSETTLED)
OPEN = verdict("inconclusive", Why.TIME_AXIS)
HEALTHY = verdict("healthy", Why.LEARNS)
FORGETS = verdict("vanishing", Why.FORGETS, "fatal", "time")
GROWS = verdict("exploding", Why.GROWS_IN_TIME, "fatal", "time")


def over_time(made, rate, *, short=None, long=None):
    """The same training with a recurrence of 60 steps that keeps `rate` of the gradient a step."""
    for lag in (1, 2, 4, 8, 16, 32, 59):
        statistic = f"lag_norm.{lag}"
        made = made.reading("w_hh", Kind.ACTIVATION_GRAD, statistic, rate ** (lag - 1))
    made = made.reading("w_hh", Kind.ACTIVATION, "time_steps", 60.0)
    if long is not None:
        told = {"short_memory": short, "long_memory": long, "memory_error": 0.01, "telling_lag": 40}
        for statistic, value in {**told, "assumed_horizon": 11.0}.items():
            made = made.reading("loss", Kind.LOSS, statistic, float(value))
    return made


OVER_TIME = {
    "time": (over_time(IDLE, 0.5), OPEN),
    "time, all of it reached": (over_time(IDLE, 1.0), FLOWS),
    "time, and enough of it": (
        over_time(IDLE, 0.5, short=0.6, long=0.6),
        FLOWS,
    ),
    "forgets": (over_time(IDLE, 0.5, short=0.0, long=0.6), FORGETS),
    "forgets what little is to learn": (
        over_time(IDLE, 0.5, short=0.0, long=0.09),
        OPEN,
    ),
    "forgets with a low path": (low(over_time(IDLE, 0.5, short=0.0, long=0.6).case, -2.0), FORGETS),
    "forgets and learns the rest": (
        over_time(STUCK, 0.5, short=0.2, long=0.9),
        verdict("vanishing", Why.FORGETS, "serious", "time"),
    ),
    "forgets and is on its way": (
        over_time(POOR, 0.5, short=0.2, long=0.9),
        verdict("inconclusive", Why.LEARNS_LITTLE),
    ),
    "learns more than a short memory can": (
        over_time(LEARNER, 0.5, short=0.2, long=1.0),
        HEALTHY,
    ),
    "grows over time": (over_time(IDLE, 1.2), GROWS),
    "grows over time and learns": (over_time(LEARNER, 1.2), HEALTHY),
    "grows over time and learns little": (
        over_time(POOR, 1.2),
        verdict("exploding", Why.GROWS_IN_TIME, "serious", "time"),
    ),
    "overflow over time": (
        over_time(OVERFLOWS, 1.2),
        verdict("exploding", Why.NONFINITE_PATH, "fatal", "time"),
    ),
}

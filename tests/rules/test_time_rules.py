"""What is said of a time axis where nothing is wrong with it, or nothing can be said."""

import pytest

from analysis.changes import recurrent
from gradfuga._types import Kind, Role, Severity
from gradfuga.analysis.build import build_case
from gradfuga.rules.rec006_truncated_backpropagation import RULE as TRUNCATED
from gradfuga.rules.rec007_memory_horizon import RULE as HORIZON
from gradfuga.rules.rec008_unseen_time import RULE as UNSEEN
from rules.cases import Training

LEARNER, IDLE = Training(), Training().that_learns_nothing()
LENGTH = ("rnn.weight_hh_l0", Kind.ACTIVATION, "time_steps")


def fading(training, rate=0.5, steps=20):
    """Return `training` with a recurrence over `steps` steps that keeps `rate` of the gradient."""
    for lag in (1, 2, 4, 8, 16, steps - 1):
        statistic = f"lag_norm.{lag}"
        training = training.reading(LENGTH[0], Kind.ACTIVATION_GRAD, statistic, rate ** (lag - 1))
    return training.reading(*LENGTH, float(steps))


def said(rule, training, lag=None):
    """Return the message of the only finding, nothing where there is none."""
    findings = tuple(rule.check(build_case(training.readings, lag=lag)))
    assert len(findings) < 2
    return findings[0].message if findings else ""


def test_a_network_without_a_time_axis_is_asked_for_none():
    assert said(UNSEEN, LEARNER) == ""
    assert "The lag was not judged" in said(UNSEEN, LEARNER, lag=10)


def test_a_recurrence_that_could_not_be_opened_is_said():
    closed = recurrent(LEARNER)
    assert "could not be opened" in said(UNSEEN, closed)
    assert "could not be opened" in said(UNSEEN, closed, lag=10)
    assert said(UNSEEN, fading(closed)) == ""


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_sequences_too_short_for_a_curve_are_said(steps):
    message = said(UNSEEN, LEARNER.reading(*LENGTH, {0: 1.0, 8: float(steps)}))
    assert (f"a length of {steps}" in message) == (steps < 3)


@pytest.mark.parametrize("lag", [19, 20, 50])
def test_a_lag_that_no_sequence_holds_is_said(lag):
    message = said(UNSEEN, fading(LEARNER), lag=lag)
    assert ("no gradient comes from before its start" in message) == (lag >= 20)


def test_a_lag_that_no_sequence_holds_is_the_cause_where_nothing_is_learned():
    sick = fading(IDLE)  # it fades after 11 steps, but what is not there cannot be learned at all
    assert said(UNSEEN, sick, lag=50) == ""
    message = said(TRUNCATED, sick, lag=50)
    assert "end after 20 steps" in message
    assert "fades after 11 steps" in message
    assert "fades" not in said(TRUNCATED, fading(IDLE, rate=0.95), lag=50)
    assert said(TRUNCATED, sick, lag=19) == ""  # the gates, or the matrix


def test_the_horizon_is_held_against_a_stated_lag():
    training = fading(LEARNER)
    assert "say so with --lag" in said(HORIZON, training)
    assert "the task needs 5" in said(HORIZON, training, lag=5)
    assert "fewer than the 15" in said(HORIZON, training, lag=15)


def test_what_is_said_is_a_note():
    (finding,) = UNSEEN.check(build_case(fading(LEARNER).readings, lag=99))
    assert (finding.role, finding.severity) == (Role.NOTE, Severity.NONE)
    assert finding.paths == (LENGTH[0],)
    assert finding.evidence[0].observed == 20.0

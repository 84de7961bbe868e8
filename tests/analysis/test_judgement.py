"""The verdict: every reason by a made-up training, every threshold exactly where it is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.changes import (
    at,
    dead,
    decayed,
    held_back,
    low,
    partly_frozen,
    recurrent,
    slow,
    softmax_too_many,
    starving,
    stopped,
    unreached,
)
from analysis.over_time import OVER_TIME
from gradfuga._types import Axis, Kind, Severity, Verdict
from gradfuga.analysis.build import build_case
from gradfuga.analysis.conditions import lost_share
from gradfuga.analysis.judgement import Judgement, Why, judge, late_lowest
from gradfuga.readings import Reading, Readings, RunRecord
from rules.cases import BASELINE, STANDING, Training, by_step

LEARNER, IDLE = Training(), Training().that_learns_nothing()
LITTLE = tuple(float(each) for each in np.geomspace(BASELINE, 0.8 * BASELINE, 100))  # u < .25
FALLING = tuple(BASELINE * (2.0 - step / 99) for step in range(100))  # ends at the baseline
WORSE = tuple(5.0 * each for each in STANDING)
ABOVE, BELOW = math.inf, -math.inf


def a_bit(value, side):
    return math.nextafter(value, side)


def verdict(name, why, severity="none", axis=None):
    return Judgement(Verdict(name), Severity(severity), Axis(axis) if axis else None, why)


UNCLEAR = {why: verdict("inconclusive", why) for why in Why}
HEALTHY = verdict("healthy", Why.LEARNS)
VANISHING = verdict("vanishing", Why.NEVER_LEARNS, "fatal", "depth")
EXPLODING = verdict("exploding", Why.NEVER_LEARNS, "fatal", "depth")
STALLED = {why: verdict("stalled", why, "fatal") for why in Why}
FLOWS = UNCLEAR[Why.FLOWS_UNSETTLED]
STANDS = verdict("stalled", Why.FLOWS, "serious")
HIDDEN, WEAK = UNCLEAR[Why.HIDDEN_BY_NOISE], UNCLEAR[Why.LEARNS_WEAKLY]
TOO_SHORT, UNKNOWN = UNCLEAR[Why.TOO_SHORT], UNCLEAR[Why.CEILING_UNKNOWN]
LEARNS_LITTLE = UNCLEAR[Why.LEARNS_LITTLE]
BORN_DEAD = verdict("dead_units", Why.BORN_DEAD, "fatal")
KILLED = verdict("dead_units", Why.KILLED, "fatal")

NONE_SAMPLED = replace(IDLE, sampled=())
CLIMBS = [*STANDING[:30], *[BASELINE * 10.0**n for n in range(1, 4)]]
OVERFLOWS, SUDDEN = (IDLE.with_losses([*e[:33], *[math.nan] * 67]) for e in (CLIMBS, STANDING))
INFINITE = IDLE.everywhere(Kind.WEIGHT_GRAD, "norm", by_step(0.5, math.inf))
RUINED = INFINITE.everywhere(Kind.WEIGHT, "norm", by_step(1.0, math.inf))
GRAD_OVERFLOWS = RUINED.with_losses([*CLIMBS, *[CLIMBS[-1]] * 67])
POOR = LEARNER.with_losses(LITTLE).with_reference(0.9)
OPEN = LEARNER.with_losses(LITTLE)
BLIND = IDLE.without_baseline()
POOR_VANISHING = verdict("vanishing", Why.POOR, "serious", "depth")
POOR_STARVES = verdict("vanishing", Why.STARVES, "serious", "depth")
STARVES = verdict("vanishing", Why.STARVES, "fatal", "depth")

# no better than a constant, by far; and by a little, which shows only in pairs
NOISY = IDLE.with_losses([BASELINE + 0.5 * (-1) ** step for step in range(100)])
WEAKLY = NOISY.reading("loss", Kind.LOSS, "gain", dict.fromkeys(range(50, 100), 0.04))

EVERY_REASON = {
    "no step": (Readings(), UNCLEAR[Why.NOTHING_SEEN]),
    "no sample": (NONE_SAMPLED, UNCLEAR[Why.NOTHING_SEEN]),
    "no loss": (BLIND.with_losses(()), UNCLEAR[Why.NOTHING_SEEN]),
    "no loss seen": (at(BLIND.with_losses(()).case, steps=100), UNCLEAR[Why.NOTHING_SEEN]),
    "overflow": (OVERFLOWS, verdict("exploding", Why.NONFINITE_RATE, "fatal")),
    "breaks suddenly": (SUDDEN, STALLED[Why.NONFINITE_SUDDEN]),
    "gradient overflows": (GRAD_OVERFLOWS, verdict("exploding", Why.NONFINITE_RATE, "fatal")),
    "overflow by path": (
        OVERFLOWS.gains(linear=10.0),
        verdict("exploding", Why.NONFINITE_PATH, "fatal", "depth"),
    ),
    "NaN in data": (
        OVERFLOWS.reading("input", Kind.ACTIVATION, "nonfinite", 3.0),
        STALLED[Why.NONFINITE_DATA],
    ),
    "learns": (LEARNER, HEALTHY),
    "learns like the reference": (OPEN.with_reference(0.2), HEALTHY),
    "learns some": (OPEN, HEALTHY),
    "learns late": (low(at(LEARNER.case, half_step=60), -2.0), verdict("healthy", Why.LEARNS_LATE)),
    "learns in part": (unreached(LEARNER, 2), verdict("healthy", Why.LEARNS_PARTLY)),
    "starves and learns poorly": (starving(POOR), POOR_STARVES),
    "starves and learns some": (starving(OPEN), POOR_STARVES),
    "poor, a head alone": (partly_frozen(POOR, 1), verdict("stalled", Why.NOT_TRAINED, "serious")),
    "poor and low": (low(POOR.case, -2.0), POOR_VANISHING),
    "poor and low at first": (at(POOR.case, first=-2.0, steps=50), POOR_VANISHING),
    "poor and high": (at(POOR.case, first=2.0), verdict("exploding", Why.POOR, "serious", "depth")),
    "poor": (POOR, LEARNS_LITTLE),
    "poor, a little held back": (held_back(POOR, lost=0.8), LEARNS_LITTLE),
    "poor, held back": (held_back(POOR), verdict("stalled", Why.HELD_BACK, "serious")),
    "some and low": (low(OPEN.case, -2.0), UNKNOWN),
    "a head alone": (partly_frozen(IDLE, 1), STALLED[Why.NOT_TRAINED]),
    "a head alone, blind": (partly_frozen(BLIND, 1), STALLED[Why.NOT_TRAINED]),
    "a head alone that learns, blind": (partly_frozen(LEARNER.without_baseline(), 1), HEALTHY),
    "blind, dead": (dead(BLIND), BORN_DEAD),
    "blind, starves": (starving(BLIND), STARVES),
    "blind, starves and learns": (starving(LEARNER.without_baseline()), POOR_STARVES),
    "blind, learns": (LEARNER.without_baseline(), HEALTHY),
    "blind, dead, learns": (dead(LEARNER.without_baseline()), HEALTHY),
    "blind": (BLIND, UNCLEAR[Why.NO_BASELINE]),
    "born dead": (dead(IDLE), BORN_DEAD),
    "high": (IDLE.gains(linear=10.0), EXPLODING),
    "high and nobody fed": (at(IDLE.case, first=2.0, pace=1e-9), STALLED[Why.NOT_FED]),
    "high and clipped away": (
        at(
            IDLE.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-5).case,
            first=2.0,
            pace=1e-9,
        ),
        EXPLODING,
    ),
    "starves": (starving(IDLE), STARVES),
    "low": (IDLE.gains(linear=0.1), VANISHING),
    "low, nobody fed": (low(slow(IDLE.case, pace=1e-9), -2.0), STALLED[Why.NOT_FED]),
    "low, slow": (low(slow(IDLE.case), -2.0), TOO_SHORT),
    "killed": (dead(IDLE, since=8), KILLED),
    "held back": (held_back(IDLE), STALLED[Why.HELD_BACK]),
    "held back, worse": (held_back(IDLE.with_losses(WORSE)), STALLED[Why.HELD_BACK]),
    "held back, a little low": (low(held_back(IDLE).case, -2.0), STALLED[Why.HELD_BACK]),
    "held back, low": (low(held_back(IDLE).case, -3.0), VANISHING),
    "worse": (IDLE.with_losses(WORSE), STALLED[Why.WORSE]),
    "decayed": (decayed(IDLE), STALLED[Why.DECAYED]),
    "probabilities": (softmax_too_many(IDLE), STALLED[Why.PROBABILITIES]),
    "low later": (at(IDLE.case, late=-2.0), VANISHING),
    "nobody fed": (at(IDLE.case, pace=1e-9), STALLED[Why.NOT_FED]),
    "time that is not opened": (recurrent(IDLE), UNCLEAR[Why.TIME_HIDDEN]),
    **OVER_TIME,
    "slow": (slow(IDLE.case), TOO_SHORT),
    "falls": (IDLE.with_losses(FALLING), UNCLEAR[Why.STILL_FALLING]),
    "flows": (IDLE, FLOWS),
    "flows where a reference learns": (IDLE.with_reference(0.9), STANDS),
    "flows where a reference finds nothing": (
        IDLE.with_reference(0.0),
        UNCLEAR[Why.NOTHING_FOUND],
    ),
    "moves no more": (stopped(IDLE, after=16), STALLED[Why.STOPPED]),
    "poor and moves no more": (stopped(POOR, after=16), verdict("stalled", Why.STOPPED, "serious")),
    "a weak signal": (WEAKLY, WEAK),
    "a weak signal that a reference confirms": (WEAKLY.with_reference(0.04), HEALTHY),
    "a weak signal and low": (low(WEAKLY.case, -2.0), UNKNOWN),
    "a weak signal of much": (WEAKLY.with_reference(0.9), STANDS),
    "hidden": (NOISY, HIDDEN),
    "hidden and low": (low(NOISY.case, -2.0), HIDDEN),
    "hidden and low later": (at(NOISY.case, late=-2.0), HIDDEN),
    "hidden and very low": (low(NOISY.case, -3.0), VANISHING),
    "hidden and high": (NOISY.gains(linear=10.0), HIDDEN),
    "hidden and decayed": (decayed(NOISY), HIDDEN),
    "hidden from all but the reference": (low(NOISY.with_reference(0.9).case, -2.0), VANISHING),
}


def test_layers_that_starve_after_an_explosion_starve_of_that():
    case = starving(POOR)
    high = at(case, first=2.0)
    grown = replace(high, blamed=replace(high.blamed, total=2.0))
    assert judge(case) == POOR_STARVES
    assert judge(grown) == verdict("exploding", Why.STARVES, "serious", "depth")


def case_of(made):
    if isinstance(made, Readings):
        return build_case(made)
    return made.case if isinstance(made, Training) else made


@pytest.mark.parametrize("name", EVERY_REASON)
def test_each_reason_has_its_verdict(name):
    made, expected = EVERY_REASON[name]
    assert judge(case_of(made)) == expected


def test_every_reason_is_reached():
    own = {Why.ALIKE, Why.CONSTANT_DATA, Why.CROSSED, Why.DROPPED, Why.WRONG_SIGN}  # test files
    assert {expected.why for _, expected in EVERY_REASON.values()} | own == set(Why)


UNTOUCHED = [name for name, (made, _) in EVERY_REASON.items() if isinstance(made, Training)]


@pytest.mark.parametrize("name", UNTOUCHED)
@pytest.mark.parametrize("factor", [2.0**-40, 1e6])
def test_the_loss_times_a_constant_changes_no_verdict(name, factor):
    made, expected = EVERY_REASON[name]
    case = made.case
    scaled = {(Kind.LOSS, each) for each in ("value", "baseline", "floor", "gain")}
    scaled |= {(Kind.ACTIVATION_GRAD, "norm"), (Kind.WEIGHT_GRAD, "norm")}
    rows = [
        replace(row, value=factor * row.value) if (row.kind, row.statistic) in scaled else row
        for row in case.readings.rows()
    ]
    again = build_case(Readings(rows, graph=case.graph, record=case.record))
    assert judge(again) == expected
    np.testing.assert_allclose(again.reach, case.reach, rtol=0, atol=1e-12)


GRAVE = {
    "dead": (dead(IDLE, since=8).case, KILLED),
    "worse": (IDLE.with_losses(WORSE).case, STALLED[Why.WORSE]),
    "decayed": (decayed(IDLE), STALLED[Why.DECAYED]),
    "probabilities": (softmax_too_many(IDLE).case, STALLED[Why.PROBABILITIES]),
}


@pytest.mark.parametrize("name", GRAVE)
def test_a_mild_start_gives_way_to_a_graver_fault_and_a_serious_one_does_not(name):
    case, expected = GRAVE[name]
    assert judge(at(case, first=-1.31)) == expected
    assert judge(at(case, first=a_bit(-2.5, ABOVE))) == expected
    assert judge(at(case, first=-2.5)) == VANISHING


def test_a_loss_just_as_bad_as_twice_the_constants_is_no_graver_fault():
    assert judge(at(IDLE.case, first=-1.31, u=-1.0)) == VANISHING
    assert judge(at(IDLE.case, first=-1.31, u=a_bit(-1.0, BELOW))) == STALLED[Why.WORSE]


# a case, the value of a threshold, the side that is beyond it, what holds at it and beyond it
THRESHOLDS = {
    "high start": (lambda v: at(IDLE.case, first=v), 1.30, ABOVE, FLOWS, EXPLODING),
    "low start": (lambda v: at(IDLE.case, first=v), -1.30, BELOW, FLOWS, VANISHING),
    "low later": (lambda v: at(IDLE.case, late=v), -1.30, BELOW, FLOWS, VANISHING),
    "overflow by path": (
        lambda v: at(OVERFLOWS.case, first=v),
        1.30,
        ABOVE,
        verdict("exploding", Why.NONFINITE_RATE, "fatal"),
        verdict("exploding", Why.NONFINITE_PATH, "fatal", "depth"),
    ),
    "poor and low": (lambda v: low(POOR.case, v), -1.30, BELOW, LEARNS_LITTLE, POOR_VANISHING),
    "poor and high": (
        lambda v: at(POOR.case, first=v),
        1.30,
        ABOVE,
        LEARNS_LITTLE,
        verdict("exploding", Why.POOR, "serious", "depth"),
    ),
    "some and high": (lambda v: at(OPEN.case, first=v), 2.60, ABOVE, HEALTHY, UNKNOWN),
    "some and low": (lambda v: low(OPEN.case, v), -1.30, BELOW, HEALTHY, UNKNOWN),
    "serious": (
        lambda v: at(slow(IDLE.reading("head", Kind.ACTIVATION, "input_rms", 1e-3).case), first=v),
        -2.5,
        BELOW,
        TOO_SHORT,
        VANISHING,
    ),
    "beyond healthy": (lambda v: slow(IDLE.case, first=v), -5.0, BELOW, TOO_SHORT, VANISHING),
    "leaves chance": (
        lambda v: at(IDLE.case, first=-2.0, turned=[v, 0.0, 0.0, 0.0, math.nan]),
        0.3,
        BELOW,
        VANISHING,
        TOO_SHORT,
    ),
    "one turnover": (
        lambda v: at(IDLE.case, turned=[0.0, 0.0, v, 9.0, 9.0]),
        1.0,
        BELOW,
        FLOWS,
        TOO_SHORT,
    ),
    "worse than a constant": (lambda v: at(IDLE.case, u=v), -1.0, BELOW, FLOWS, STALLED[Why.WORSE]),
    "nothing to learn": (
        lambda v: at(IDLE.with_reference(v).case, turned=0.5),
        0.05,
        BELOW,
        TOO_SHORT,
        UNCLEAR[Why.NOTHING_FOUND],
    ),
    "a telling reference": (lambda v: IDLE.with_reference(v).case, 0.1, BELOW, STANDS, FLOWS),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_flips_exactly_at_its_value(name):
    made, value, beyond, at_it, past_it = THRESHOLDS[name]
    assert judge(made(a_bit(value, -beyond))) == at_it
    assert judge(made(value)) == at_it
    assert judge(made(a_bit(value, beyond))) == past_it


ENOUGH = {
    "high": (at(IDLE.case, first=2.0), TOO_SHORT, EXPLODING),
    "low": (at(IDLE.case, first=-2.0), TOO_SHORT, VANISHING),
    "low later": (at(IDLE.case, late=-2.0), TOO_SHORT, VANISHING),
    "low, nobody fed": (low(slow(IDLE.case, pace=1e-9), -2.0), TOO_SHORT, STALLED[Why.NOT_FED]),
    "nobody fed": (slow(IDLE.case, pace=1e-9), TOO_SHORT, STALLED[Why.NOT_FED]),
    "worse": (at(IDLE.case, u=-2.0), TOO_SHORT, STALLED[Why.WORSE]),
    "probabilities": (softmax_too_many(IDLE).case, TOO_SHORT, STALLED[Why.PROBABILITIES]),
    "flows": (IDLE.case, TOO_SHORT, FLOWS),
    "a head alone": (partly_frozen(IDLE, 1).case, TOO_SHORT, STALLED[Why.NOT_TRAINED]),
    "blind, starves": (starving(BLIND), UNCLEAR[Why.NO_BASELINE], STARVES),
}


@pytest.mark.parametrize("name", ENOUGH)
def test_twenty_steps_are_the_fewest_for_a_verdict(name):
    case, short, enough = ENOUGH[name]
    assert judge(at(case, steps=19)) == short
    assert judge(at(case, steps=20)) == enough


def test_half_of_the_model_in_training_is_enough_to_be_judged_by_the_path():
    four = replace(IDLE, depth=3)  # four weights
    assert judge(partly_frozen(four, 2).case) == FLOWS
    assert judge(partly_frozen(four, 1).case) == STALLED[Why.NOT_TRAINED]
    poor = replace(POOR, depth=3)
    assert judge(partly_frozen(poor, 2).case) == LEARNS_LITTLE
    assert judge(partly_frozen(poor, 1).case).why is Why.NOT_TRAINED


def test_a_quarter_of_the_weights_that_the_loss_never_reaches_is_worth_a_remark():
    partly = verdict("healthy", Why.LEARNS_PARTLY)
    assert judge(unreached(replace(LEARNER, depth=3), 1).case) == partly  # one of four
    assert judge(unreached(LEARNER, 1).case) == HEALTHY  # one of five
    two_samples = unreached(LEARNER, 2).sampled_at(0, 99)  # a head may take turns with others
    assert judge(two_samples.case) == HEALTHY


def test_a_fiftieth_of_the_run_lost_with_poor_progress_is_vanishing():
    case = POOR.case
    rows = case.reach.copy()
    rows[:2, -1] = -2.0  # steps 0 and 1 of 100
    lost = replace(case, reach=rows)
    assert lost_share(lost) == 0.02
    assert judge(lost) == POOR_VANISHING
    assert judge(at(lost, steps=101)) == LEARNS_LITTLE
    # the same where nobody knows what the task permits, unless the loss still falls
    some = OPEN.with_losses([*LITTLE[:50], *(LITTLE[-1] + 0.002 * (-1) ** n for n in range(50))])
    healed = replace(some.case, reach=rows)
    assert not healed.progress.falling
    assert judge(healed) == UNKNOWN
    assert judge(at(healed, steps=101)) == HEALTHY
    assert judge(replace(OPEN.case, reach=rows)) == HEALTHY


def test_a_quarter_of_the_run_lost_is_worth_a_remark():
    late = verdict("healthy", Why.LEARNS_LATE)
    assert judge(low(at(LEARNER.case, half_step=25), -2.0)) == late
    assert judge(low(at(LEARNER.case, half_step=24), -2.0)) == HEALTHY


def test_a_path_that_was_low_while_the_network_waited_is_vanishing_though_it_healed():
    case = IDLE.case
    rows = case.reach.copy()
    rows[1:7, -1] = -2.0  # six of eleven samples, none of them late
    healed = replace(case, reach=rows)
    assert late_lowest(healed) == 0.0
    assert judge(healed) == VANISHING
    rows[6, -1] = 0.0
    assert judge(replace(case, reach=rows)) == FLOWS


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (at(dead(IDLE).case, first=2.0), BORN_DEAD),
        (low(dead(IDLE).case, -4.0), BORN_DEAD),
        (at(dead(IDLE, since=8).case, first=-4.0), VANISHING),
        (at(dead(IDLE, since=8).case, first=4.0), EXPLODING),
        (at(dead(IDLE, since=8).case, late=-4.0), KILLED),
        (at(IDLE.case, first=4.0, late=-4.0), EXPLODING),
        (at(decayed(IDLE), first=-4.0), VANISHING),
        (at(decayed(IDLE), u=-2.0), STALLED[Why.WORSE]),
        (at(IDLE.with_losses(WORSE).case, late=-4.0), STALLED[Why.WORSE]),
        (dead(OVERFLOWS), verdict("exploding", Why.NONFINITE_RATE, "fatal")),
    ],
)
def test_the_first_symptom_in_time_wins(case, expected):
    assert judge(case_of(case)) == expected


def test_an_interrupted_run_is_judged_more_carefully():
    case = at(IDLE.case, first=2.0)
    cut = replace(case, record=replace(case.record, interrupted=True))
    hardly = at(cut, turned=0.2)
    assert judge(hardly) == TOO_SHORT
    assert judge(cut) == EXPLODING  # it has moved far enough to leave chance
    assert judge(replace(hardly, record=case.record)) == EXPLODING


def test_late_lowest_is_unknown_where_nothing_was_read():
    record = RunRecord(steps=3, sampled=(0, 1, 2))
    unread = Readings([Reading(0, "loss", Kind.LOSS, "value", 1.0)], record=record)
    assert math.isnan(late_lowest(build_case(unread)))
    assert late_lowest(at(IDLE.case, late=-2.0)) == -2.0

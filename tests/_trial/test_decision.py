"""The paired decision: against scipy, against enumeration, and at its thresholds."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gradfuga._trial.decision import (
    WORTHWHILE,
    beats,
    better,
    compare,
    enough,
    learns,
    promising,
    sign_flip,
    student_quantile,
)
from gradfuga._types import Safety
from gradfuga.experiment import Arm, Comparison, Treatment, TrialRun


def arm(title, *scores, safety=Safety.SAFE, failed="", known=True):
    runs = tuple(
        TrialRun(seed, steps=10, score=score, known=known, failed=failed)
        for seed, score in enumerate(scores)
    )
    return Arm(Treatment(title, safety=safety), runs)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 15])
@pytest.mark.parametrize("probability", [0.9, 0.975, 0.999])
def test_the_quantile_of_student_is_that_of_scipy(freedom, probability):
    expected = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    before, after = rng.normal(0.0, 0.1, 5), rng.normal(0.5, 0.1, 5)
    found = compare(arm("a", *before), arm("b", *after))
    theirs = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.interval == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert found.difference == pytest.approx(float(np.mean(after - before)))
    assert found.pairs == 5


def test_the_sign_test_counts_every_pattern_of_signs():
    values = [0.3, -0.1, 0.2, 0.05]
    signs = itertools.product((1, -1), repeat=4)
    sums = [sum(s * v for s, v in zip(each, values, strict=True)) for each in signs]
    expected = np.mean([each >= sum(values) - 1e-12 for each in sums])
    assert sign_flip(values) == pytest.approx(expected)
    assert sign_flip([1.0] * 5) == 1 / 32


def test_five_equal_gains_are_the_fewest_that_the_exact_test_calls_significant():
    assert sign_flip([0.1] * 4) > 0.05 > sign_flip([0.1] * 5)


def test_only_seeds_that_both_arms_have_run_with_are_compared():
    untreated = arm("a", 0.0, 0.0, 0.0)
    treated = Arm(Treatment("b"), (TrialRun(1, score=0.5), TrialRun(2, score=math.nan)))
    assert compare(untreated, treated).pairs == 1
    assert compare(untreated, treated).interval == (-math.inf, math.inf)
    assert compare(untreated, arm("c", 0.5, failed="out of memory")) is None


def test_a_gain_must_be_worthwhile_with_its_whole_interval():
    gain = WORTHWHILE
    assert not better(Comparison(1.0, (gain, 2.0), 0.01, 5))
    assert better(Comparison(1.0, (math.nextafter(gain, 1.0), 2.0), 0.01, 5))
    assert not better(None)


def test_a_control_is_better_beyond_chance_and_by_what_is_worthwhile():
    winner = arm("w", 0.83, 0.80, 0.86)
    assert beats(compare(winner, arm("c", 0.97, 0.97, 0.96)))
    assert not better(compare(winner, arm("c", 0.97, 0.97, 0.96)))
    assert not beats(compare(winner, arm("c", 0.99, 0.60, 0.99)))  # may be chance
    assert not beats(compare(winner, arm("c", 0.86, 0.83, 0.89)))  # hardly more
    assert not beats(None)


def test_a_treatment_that_only_fails_less_does_not_learn():
    assert not learns(arm("less diverged", 0.0, 0.04))
    assert learns(arm("learns", 0.3, 0.2))
    assert learns(arm("no baseline known", -3.0, known=False))
    assert not learns(arm("crashed", 0.3, failed="crash"))


def test_the_smallest_of_those_about_as_good_comes_first():
    best = arm("best", 0.9, safety=Safety.UNSAFE)
    safe = arm("safe", 0.75)
    weak = arm("weak", 0.5)
    broken = arm("broken", math.nan, failed="crash")
    order = [each.treatment.title for each in promising([broken, weak, best, safe])]
    assert order == ["safe", "best", "weak", "broken"]


def test_no_random_gain_is_called_better_more_often_than_the_interval_allows():
    """Under no effect, P(lower end of a 95 % interval above 0) is 2.5 %; the bar lies higher."""
    rng = np.random.default_rng(1)
    called = sum(
        better(compare(arm("a", *rng.normal(0, 0.1, 5)), arm("b", *rng.normal(0, 0.1, 5))))
        for _ in range(400)
    )
    assert called <= 0.025 * 400


@pytest.mark.parametrize(
    ("permitted", "bar"), [(0.9, 0.72), (0.2, 0.16), (0.05, 0.5), (math.nan, 0.5)]
)
def test_enough_is_what_the_task_is_known_to_permit_else_half_of_the_way(permitted, bar):
    assert enough(arm("above", bar + 0.01), permitted)
    assert not enough(arm("below", bar - 0.01), permitted)
    assert not enough(arm("unknown", bar + 0.01, known=False), permitted)

"""The questions that several rules ask of a case."""

import math

import pytest

from gradfuga._types import Kind, SourceLine
from gradfuga.rules._blame import activation_word, built_lines
from gradfuga.rules._feed import best_fed, feeds, largest_ratio
from gradfuga.rules._reach import at_start, highest, lowest, over_all, over_late
from gradfuga.rules._samples import late_median, late_steps, value_at
from gradfuga.rules._words import plain, quoted
from rules.cases import Training, by_step


def test_late_is_the_last_quarter_of_the_run_four_samples_at_most():
    assert late_steps(Training().case) == (80, 90, 99)


def test_a_late_median_sees_only_late_samples():
    case = Training().reading("head", Kind.ACTIVATION, "input_rms", by_step(1.0, 5.0)).case
    assert late_median(case, "head", Kind.ACTIVATION, "input_rms") == 5.0
    assert math.isnan(late_median(case, "nowhere", Kind.ACTIVATION, "input_rms"))


def test_a_value_that_is_not_finite_counts_as_unread():
    case = Training().reading("head", Kind.ACTIVATION, "input_rms", {0: math.inf, 1: 2.0}).case
    assert math.isnan(value_at(case, "head", Kind.ACTIVATION, "input_rms", 0))
    assert value_at(case, "head", Kind.ACTIVATION, "input_rms", 1) == 2.0


def test_reach_is_read_at_the_start_late_and_over_all():
    case = Training().reading("layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1e-3, 1e2)).case
    assert lowest(at_start(case)) == pytest.approx(-3.0)
    assert highest(over_late(case)) == pytest.approx(2.0)
    # seven early samples of eleven decide the median
    assert lowest(over_all(case)) == pytest.approx(-3.0)
    assert (highest(()), lowest(())) == (-math.inf, math.inf)


def test_feed_is_the_median_ratio_times_the_steps_and_the_best_fed_the_largest():
    case = Training().reading(
        "layer.0.weight", Kind.UPDATE, "norm", {**by_step(0.01, 0.01), 2: 0.7}
    )
    fed = {each.path: each.feed for each in feeds(case.case)}
    assert fed["layer.0"] == pytest.approx(1.0)
    assert best_fed(case.case).feed == pytest.approx(70.0)
    path, step, ratio = largest_ratio(case.case)
    assert (path, step, ratio) == ("layer.0", 2, pytest.approx(0.7))
    assert largest_ratio(case.case, before=2)[2] == pytest.approx(0.05)


def test_an_activation_is_called_what_its_user_calls_it():
    case = Training(activation="GELU").case
    assert activation_word(case, "act.0") == "GELU"
    assert activation_word(case, "head") == "Linear"
    assert activation_word(case, "gone") == "gone"


def test_the_lines_that_built_modules_are_named_once():
    case = Training().case
    assert built_lines(case, ("head", "layer.0")) == (SourceLine("net.py", 5, "nn.Linear(16, 16)"),)


def test_numbers_and_paths_are_short():
    assert plain(0.1 + 0.2) == "0.3"
    assert quoted(("a",)) == "'a'"

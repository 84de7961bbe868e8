"""The budget: what is written, and what it pays for."""

import pytest

from gradfuga._errors import UsageError
from gradfuga._trial.budget import Budget, plan


def laid(budget, **changes):
    settings = {
        "left": 240.0,
        "jobs": 2,
        "seeds": None,
        "candidates": 6,
        "startup_seconds": 1.0,
        "step_seconds": 0.002,
        "length": 690,
    }
    return plan(Budget.read(budget), **{**settings, **changes})


@pytest.mark.parametrize(
    ("text", "seconds", "steps"),
    [
        ("5min", 300.0, None),
        ("90s", 90.0, None),
        ("1.5h", 5400.0, None),
        ("300steps", None, 300),
        (" 20 steps ", None, 20),
    ],
)
def test_a_budget_is_a_time_or_steps(text, seconds, steps):
    assert Budget.read(text) == Budget(seconds, steps)


@pytest.mark.parametrize("text", ["", "5", "0min", "-3s", "5 parsecs", "19steps", "20.5steps"])
def test_anything_else_is_refused_with_what_to_write(text):
    with pytest.raises(UsageError, match="--budget"):
        Budget.read(text)


def test_a_quick_script_is_tried_whole_with_five_seeds():
    found = laid("5min")
    assert (found.steps, found.seeds, found.candidates) == (690, 5, 6)


def test_a_slow_script_is_tried_on_a_slice_that_the_time_pays_for():
    found = laid("5min", step_seconds=0.5, length=100_000)
    assert 0 < found.steps < 200
    assert found.seeds < 5


def test_what_the_time_does_not_pay_for_gets_no_steps():
    assert laid("5min", startup_seconds=200.0).steps == 0


def test_steps_are_as_they_are_asked_for_but_no_more_than_the_script_has():
    assert laid("300steps").steps == 300
    assert laid("3000steps").steps == 690


def test_the_seeds_that_are_asked_for_are_kept():
    assert laid("5min", seeds=7).seeds == 7


def test_the_hurdle_is_a_quarter_of_a_slice_that_is_long_enough():
    assert laid("5min").hurdle == 690 // 4
    assert laid("79steps").hurdle == 0

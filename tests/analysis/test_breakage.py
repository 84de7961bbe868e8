"""How a training broke: by its data, suddenly, or by steps that had grown."""

import math
import warnings

import pytest

from analysis.changes import at
from gradfuga._types import Kind
from gradfuga.analysis.breakage import (
    GROWN,
    VIOLENT,
    BrokenData,
    broke_suddenly,
    broken_data,
    nonfinite_step,
)
from gradfuga.analysis.build import REACH_LIMIT, build_case
from gradfuga.readings import Readings, RunRecord
from rules.cases import BASELINE, STANDING, Training, by_step

IDLE = Training().that_learns_nothing()
BROKEN = IDLE.with_losses([*STANDING[:20], *[math.nan] * 80])
GRAD, WEIGHT = (Kind.WEIGHT_GRAD, "norm"), (Kind.WEIGHT, "norm")
INPUT = ("input", Kind.ACTIVATION, "nonfinite")
TARGET = ("target", Kind.LOSS, "nonfinite")


@pytest.mark.parametrize(
    "readings", [Readings(), Readings(record=RunRecord(steps=9, sampled=(0, 4)))]
)
def test_where_nothing_was_read_nothing_broke(readings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case = build_case(readings)
        assert nonfinite_step(case) is None
        assert broken_data(case) is None
        assert not broke_suddenly(case)


def test_the_first_step_that_is_not_finite_is_that_of_the_loss_or_of_a_gradient():
    broken = [*STANDING[:50], *[math.nan] * 50]
    assert nonfinite_step(IDLE.case) is None
    assert nonfinite_step(IDLE.with_losses(broken).case) == 50
    earlier = IDLE.with_losses(broken).everywhere(*GRAD, by_step(0.5, math.inf, until=16))
    assert nonfinite_step(earlier.case) == 32
    later = IDLE.with_losses(broken).everywhere(*GRAD, by_step(0.5, math.inf, until=64))
    assert nonfinite_step(later.case) == 50


def test_a_gradient_that_the_training_survives_is_no_illness():
    skipped = IDLE.reading("head.weight", *GRAD, by_step(math.inf, 0.5, until=2))
    assert nonfinite_step(skipped.case) is None
    ruined = skipped.reading("head.weight", *WEIGHT, by_step(1.0, math.inf))
    assert nonfinite_step(ruined.case) == 0
    healed = skipped.reading("head.weight", *WEIGHT, by_step(math.inf, 1.0))
    assert nonfinite_step(healed.case) is None


@pytest.mark.parametrize(("path", "kind", "statistic"), [INPUT, TARGET])
def test_data_that_are_not_finite_break_a_training_if_they_were_so_before_it_broke(
    path, kind, statistic
):
    assert broken_data(BROKEN.reading(path, kind, statistic, 0.0).case) is None
    first = BROKEN.reading(path, kind, statistic, {8: 0.0, 20: 1.0, 32: 5.0})
    assert broken_data(first.case) == BrokenData(path, kind, 20, 1.0)
    later = BROKEN.reading(path, kind, statistic, {8: 0.0, 21: 1.0})  # by the weights, perhaps
    assert broken_data(later.case) is None
    harmless = IDLE.reading(path, kind, statistic, {8: 3.0})  # left out by the user
    assert broken_data(harmless.case) is None


def test_a_training_breaks_suddenly_unless_the_loss_had_grown():
    assert broke_suddenly(BROKEN.case)
    assert not broke_suddenly(IDLE.case)

    def after(loss):
        losses = [BASELINE, *STANDING[1:19], loss, *[math.nan] * 80]
        return broke_suddenly(IDLE.with_losses(losses).case)

    assert after(GROWN * BASELINE)
    assert not after(math.nextafter(GROWN * BASELINE, math.inf))


def test_a_training_breaks_suddenly_unless_a_step_or_the_path_had_grown():
    assert broke_suddenly(at(BROKEN.case, pace=VIOLENT))
    assert not broke_suddenly(at(BROKEN.case, pace=math.nextafter(VIOLENT, 1.0)))
    assert broke_suddenly(at(BROKEN.case, late=REACH_LIMIT))
    assert not broke_suddenly(at(BROKEN.case, late=math.nextafter(REACH_LIMIT, 2.0)))


def test_no_rate_breaks_a_loss_before_the_first_step():
    assert broke_suddenly(IDLE.with_losses([math.nan] * 100).case)

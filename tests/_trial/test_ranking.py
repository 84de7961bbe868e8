"""The ranking before any training: by the reach that each treatment leaves."""

import math

import pytest

from _trial.conftest import SICK, Simulated
from gradfuga._edits import Initialize, InsertNormalization, SetOptimizer, SwapActivation
from gradfuga._trial.bench import UNTREATED, Bench
from gradfuga._trial.ranking import departure, ranked
from gradfuga._trial.request import Request
from gradfuga._trial.scratch import Place
from gradfuga._types import DepthProfile, Prescription, Safety
from gradfuga.experiment import Arm, Treatment, TrialRun


def order(reach, titles, **settings):
    pool = Simulated({}, reach, **settings)
    bench = pool.bench()
    [untreated] = bench.arms([UNTREATED], [0], 400)
    found = [each.title for each in ranked(bench, untreated, [Treatment(t) for t in titles])]
    return found, pool


@pytest.mark.parametrize(
    ("reach", "decades"),
    [((0.0, -1.3, 1.3), 0.0), ((0.0, -4.3), 3.0), ((0.2, 3.3), 2.0), ((0.0, -math.inf), math.inf)],
)
def test_the_departure_is_what_lies_beyond_the_limit_in_either_direction(reach, decades):
    profile = DepthProfile(("a",) * len(reach), reach, (0.0,) * len(reach))
    assert departure(Arm(UNTREATED, (TrialRun(0, depth=profile),))) == pytest.approx(decades)


def test_a_reach_that_was_not_read_is_not_taken_for_a_good_one():
    assert math.isnan(departure(Arm(UNTREATED, (TrialRun(0),))))
    found, _pool = order({"": -9.0, "some": -5.0}, ["unread", "some"])
    assert found == ["some", "unread"]


def test_the_best_reach_comes_first_and_those_within_the_limit_keep_their_order():
    reach = {"": -7.0, "none": -7.0, "some": -3.0, "within": -1.2, "also": 0.4, "bursts": 4.0}
    found, pool = order(reach, ["none", "bursts", "some", "within", "also"])
    assert found == ["within", "also", "some", "bursts", "none"]
    assert [(title, steps) for title, _seed, steps in pool.asked[1:]] == [
        (title, 1) for title in ("none", "bursts", "some", "within", "also")
    ]


def test_nothing_is_measured_where_the_path_is_not_what_is_ill():
    found, pool = order({"": -1.0, "worse": -5.0}, ["worse", "other"])
    assert found == ["worse", "other"]
    assert len(pool.asked) == 1


def test_what_fails_on_one_batch_costs_no_training():
    found, _pool = order({"": -7.0, "good": 0.0}, ["breaks", "good"], breaks=("breaks",))
    assert found == ["good"]


def test_in_a_script_the_swap_goes_before_what_cannot_repair_a_sigmoid(tmp_path, pool):
    """Six sigmoid layers: theory gives 6 log10(.21) and less; ReLU at He's scale keeps the norm."""
    (tmp_path / "train.py").write_text(SICK, "utf-8")
    place = Place.of("train.py", tmp_path)
    rate, norm, swap = (
        Treatment(title, (Prescription("RX001", title, (), Safety.UNSAFE, edits),))
        for title, edits in (
            ("rate", (SetOptimizer("lr", 2.0, relative=True),)),
            ("norm", (InsertNormalization("layer"),)),
            ("swap", (SwapActivation("relu"), Initialize("fan_in", 2**0.5))),
        )
    )
    like = Request(place, (), None, 0, 20, None, 0.0)
    bench = Bench(pool, like, deadline=None, tell=lambda _text: None)
    [untreated] = bench.arms([UNTREATED], [0], 1)
    assert departure(untreated) > 6 * -math.log10(0.2117) - 1.3 - 0.5
    assert [each.title for each in ranked(bench, untreated, [rate, norm, swap])] == [
        "swap", "norm", "rate",
    ]  # fmt: skip
    assert departure(bench.arm(swap, [0], 1)) == 0.0
    assert departure(bench.arm(rate, [0], 1)) == departure(untreated)

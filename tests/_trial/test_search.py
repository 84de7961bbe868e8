"""The search: single treatments first, then several at once, and pairs that decide."""

import math

from _trial.conftest import Simulated
from gradfuga._diagnose import diagnose
from gradfuga._edits import Calibrate, Initialize, Safety, SetOptimizer, SwapActivation
from gradfuga._trial.candidates import combinations, rates, treatments_for
from gradfuga._trial.search import Search
from gradfuga._types import Prescription
from gradfuga.experiment import Treatment
from gradfuga.readings import Readings


def treatment(title, *edits, safety=Safety.UNSAFE):
    return Treatment(title, (Prescription("RX999", title, (), safety, edits),), safety=safety)


SWAP = treatment("swap", SwapActivation("relu"))
DRAW = treatment("draw", Initialize("fan_in"))
OTHER = treatment("other", Initialize("orthogonal"), Calibrate())
LOWER = rates()[0]


def search(progress, *, reach=None, seeds=3, permitted=math.nan):
    pool = Simulated(progress, reach)
    return (
        Search(pool.bench(), 400, 100, range(seeds), most=8, abreast=1, permitted=permitted),
        pool,
    )


def test_a_single_treatment_that_does_enough_is_not_combined():
    looked, pool = search({"swap": lambda _steps, _seed: 0.9})
    found = looked.among([DRAW, SWAP])
    assert found.winner.treatment is SWAP
    assert [run.seed for run in found.winner.runs] == [0, 1, 2]
    assert not any("+" in title for title, _seed, _steps in pool.asked)


def test_two_that_work_only_together_are_found():
    looked, _pool = search({"swap + draw": lambda _steps, _seed: 0.9})
    found = looked.among([SWAP, DRAW])
    assert found.winner.treatment.edits == (*SWAP.edits, *DRAW.edits)
    assert found.winner.treatment.safety is Safety.UNSAFE


def test_a_dose_that_helps_a_little_is_doubled():
    title = LOWER.title
    looked, _pool = search(
        {title: lambda _s, _seed: 0.2, f"{title} + {title}": lambda _s, _seed: 0.9}
    )
    found = looked.among([LOWER])
    assert [edit.value for edit in found.winner.treatment.edits] == [0.1, 0.1]


def test_nothing_is_barred_where_the_path_is_not_what_is_ill():
    looked, pool = search({}, reach={"": -1.0, "swap": -5.0})
    looked.among([SWAP])
    assert ("swap", 0, 100) in pool.asked


def test_what_leaves_a_bad_path_is_barred():
    looked, pool = search({}, reach={"": -9.0, "swap": -5.0, "draw": 0.0})
    looked.among([SWAP, DRAW])
    assert pool.asked[1:3] == [("swap", 0, 1), ("draw", 0, 100)]


def test_luck_with_one_seed_is_not_proven():
    looked, _pool = search({"swap": lambda _steps, seed: 0.9 if seed == 0 else -0.3})
    found = looked.among([SWAP])
    assert found.winner is None
    assert found.standing[0].treatment is SWAP


def test_of_two_that_learn_as_well_the_safer_wins():
    safe = treatment("safe", SetOptimizer("lr", 0.1), safety=Safety.SAFE)
    looked, _pool = search(
        {"swap": lambda _s, _seed: 0.5, "safe": lambda _s, _seed: 0.45}, permitted=0.9
    )
    assert looked.among([SWAP, safe]).winner.treatment is safe


def test_edits_of_one_kind_are_not_made_twice():
    made = combinations([SWAP, DRAW], [SWAP, DRAW, OTHER])
    assert [each.title for each in made] == ["swap + draw", "swap + other"]


def test_a_pair_is_tried_in_one_order_only():
    assert len(combinations([SWAP, DRAW], [SWAP, DRAW])) == 1


def test_rates_that_undo_each_other_are_not_combined():
    lower, raised = rates()
    assert not combinations([lower], [raised])


def test_where_there_is_advice_only_the_rate_is_tried():
    assert treatments_for(diagnose(Readings())) == rates()

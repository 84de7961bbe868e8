"""The search: single treatments first, then several at once, and pairs that decide."""

import math

from _trial.conftest import Simulated
from gradfuga._diagnose import diagnose
from gradfuga._edits import (
    Calibrate,
    Initialize,
    InsertNormalization,
    Safety,
    SetOptimizer,
    SwapActivation,
)
from gradfuga._trial.candidates import combinations, raised_further, rates, treatments_for
from gradfuga._trial.search import Search, cheapest_first
from gradfuga._types import Prescription
from gradfuga.experiment import Treatment
from gradfuga.readings import Readings


def treatment(title, *edits, safety=Safety.UNSAFE):
    return Treatment(title, (Prescription("RX999", title, (), safety, edits),), safety=safety)


SWAP = treatment("swap", SwapActivation("relu"))
DRAW = treatment("draw", Initialize("fan_in"))
OTHER = treatment("other", Initialize("orthogonal"), Calibrate())
LOWER, RAISE = rates()
NORM = treatment("norm", InsertNormalization("layer"))


def search(progress, *, reach=None, seeds=3, permitted=math.nan, breaks=()):
    pool = Simulated(progress, reach, breaks=breaks)
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


def test_of_two_that_learn_as_well_the_one_that_costs_nothing_in_a_step_wins():
    looked, pool = search({"norm": lambda _s, _seed: 0.9, "draw": lambda _s, _seed: 0.9})
    assert looked.among([NORM, DRAW]).winner.treatment is DRAW
    assert not any(title == "norm" for title, _seed, _steps in pool.asked)
    looked, _pool = search(
        {"norm": lambda _s, _seed: 0.46, "draw": lambda _s, _seed: 0.42}, permitted=0.9
    )
    assert looked.among([NORM, DRAW]).winner.treatment is DRAW


def test_the_best_of_every_kind_comes_before_the_second_best_of_any():
    tanh = treatment("tanh", SwapActivation("tanh"))
    assert cheapest_first([NORM, SWAP, tanh, DRAW]) == [SWAP, DRAW, NORM, tanh]


def test_a_rate_is_raised_on_until_it_helps_no_more():
    title = RAISE.title
    levels = {title: 0.65, f"{title} (×100)": 0.93, f"{title} (×1000)": 0.1}
    looked, pool = search(
        {name: lambda _s, _seed, v=value: v for name, value in levels.items()}, permitted=0.8
    )
    found = looked.among([RAISE])
    assert [edit.value for edit in found.winner.treatment.edits] == [100.0]
    assert (f"{title} (×1000)", 0, 400) in pool.asked


def test_a_rate_that_was_raised_twice_is_raised_on_too():
    title = RAISE.title
    levels = {f"{title} + {title}": 0.3, f"{title} (×1000)": 0.8, f"{title} (×10000)": 0.85}
    looked, pool = search(
        {name: lambda _s, _seed, v=value: v for name, value in levels.items()}, permitted=0.9
    )
    found = looked.among([RAISE])
    assert [edit.value for edit in found.winner.treatment.edits] == [1000.0]
    assert any("10000" in title for title, _seed, _steps in pool.asked)


def test_a_rate_that_is_lowered_or_that_is_enough_is_left():
    assert raised_further(LOWER) is None
    assert raised_further(SWAP) is None
    raised = raised_further(treatment("raise", SetOptimizer("lr", 0.02)))
    assert raised is None  # another remedy's
    title = RAISE.title
    looked, _pool = search(
        {title: lambda _s, _seed: 0.8, f"{title} (×100)": lambda _s, _seed: 0.9}, permitted=0.8
    )
    assert looked.among([RAISE]).winner.treatment is RAISE


def test_what_has_no_place_is_no_part_of_a_combination():
    looked, pool = search({}, breaks=("swap", "draw"))
    looked.among([SWAP, DRAW])
    asked = {title for title, _seed, _steps in pool.asked}
    assert not any("swap +" in title or "+ draw" in title for title in asked)
    assert {LOWER.title, RAISE.title} <= asked

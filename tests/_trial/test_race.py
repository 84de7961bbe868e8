"""The race: how many steps it spends, and on whom."""

from functools import partial

import pytest

from _trial.conftest import HEALED, SICK, Simulated
from gradfuga._trial.decision import enough
from gradfuga._trial.race import Race
from gradfuga.experiment import Treatment

STEPS, HURDLE = 400, 100


def learner(final, start=0):
    """Progress that rises from `start` on and gets to `final` at the end of the slice."""
    return lambda steps, _seed: final * max(0.0, steps - start) / (STEPS - start)


def raced(progress, titles, *, abreast=1, permitted=1.0, most=8, gated=False, **settings):
    pool = Simulated(progress, **settings)
    found = Race(
        pool.bench(STEPS),
        steps=STEPS,
        hurdle=HURDLE,
        abreast=abreast,
        most=most,
        enough=partial(enough, permitted=permitted),
        gated=gated,
    ).run([Treatment(title) for title in titles])
    return [arm.treatment.title for arm in found], [(t, steps) for t, _s, steps in pool.asked]


def test_the_first_that_does_enough_ends_the_race_and_costs_one_training():
    found, asked = raced({"a": learner(0.9), "b": learner(1.0)}, "ab")
    assert (found, asked) == (["a"], [("a", 400)])


def test_what_learns_nothing_by_the_hurdle_costs_a_quarter():
    found, asked = raced({"c": learner(0.9)}, "abcd")
    assert found[0] == "c"
    assert asked == [("a", 100), ("b", 100), ("c", 400)]


def test_one_that_learns_too_little_does_not_end_the_race():
    found, asked = raced({"a": learner(0.4), "c": learner(0.9)}, "abcd")
    assert found == ["c", "a"]
    assert asked == [("a", 400), ("b", 100), ("c", 400)]


def test_late_learners_are_found_by_halving():
    """Eight runs to 100, then the best four to 200, two of these to the end."""
    late = {"h": learner(0.9, start=250), "g": learner(0.9, start=150)}
    quiet = {name: partial(lambda steps, _seed, n: n * steps * 1e-9, n=n)
             for n, name in enumerate("abcdef")}  # fmt: skip
    # g and h are told from the others at the hurdle by next to nothing
    hints = {k: (lambda s, seed, f=f: f(s, seed) + s * 1e-7) for k, f in late.items()}
    found, asked = raced(quiet | hints, "abcdefgh")
    assert found[0] == "g"
    assert asked[:8] == [(name, 100) for name in "abcdefgh"]
    # g learns by the second hurdle, and goes on to the end at once
    assert ("g", 400) in asked
    assert sum(steps for _title, steps in asked) <= 8 * 100 + 4 * 200 + 2 * 400


def test_where_nothing_learns_the_steps_are_those_of_successive_halving():
    _found, asked = raced({}, "abcdefgh")
    counts = [steps for _title, steps in asked]
    assert counts == [100] * 8 + [200] * 4 + [400] * 2


def test_as_many_start_together_as_run_side_by_side():
    _found, asked = raced({"a": learner(0.9)}, "abcd", abreast=2)
    assert asked == [("a", 400), ("b", 100)]


def test_without_a_baseline_all_are_compared():
    """Scores are minus log losses: nothing tells that one does enough."""
    found, asked = raced({"b": lambda steps, _seed: steps / 100}, "abcd", known=False)
    assert found[0] == "b"
    assert [steps for _t, steps in asked] == [100] * 4 + [200] * 2 + [400]


def test_what_breaks_is_out():
    found, _asked = raced({"a": learner(0.9), "b": learner(0.8)}, "ab", breaks=("a",))
    assert found == ["b"]


def test_the_gate_costs_one_step_where_the_reach_is_bad_and_none_where_it_is_good():
    reach = {"a": -8.0, "b": 0.3, "c": 0.0}
    found, asked = raced({"b": learner(0.9), "c": learner(0.9)}, "abc", reach=reach, gated=True)
    assert (found, asked) == (["b"], [("a", 1), ("b", 400)])


def test_what_the_gate_has_barred_has_its_turn_the_best_reach_first():
    """As if all had been measured and sorted before any training."""
    reach = {"a": -8.0, "b": -3.0, "c": 0.0, "d": 5.0}
    found, asked = raced({"d": learner(0.9)}, "abcde", reach=reach, gated=True)
    assert found[0] == "d"
    assert asked == [
        ("a", 1), ("b", 1), ("c", 100), ("d", 1), ("e", 1), ("b", 100), ("d", 400),
    ]  # fmt: skip


def test_no_more_are_trained_with_than_the_budget_allows():
    _found, asked = raced({}, "abcdef", most=3)
    assert [title for title, steps in asked if steps == 100] == ["a", "b", "c"]


@pytest.mark.parametrize(("source", "steps"), [(SICK, 30), (HEALED, 120)])
def test_in_a_child_process_only_what_learns_passes_the_hurdle(run, source, steps):
    found = run(source, steps=120, hurdle=30)
    assert (found.steps, found.failed) == (steps, "")

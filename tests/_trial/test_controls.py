"""The controls: what a winner has to stand, and what takes its place."""

import pytest

from _trial.conftest import Simulated
from gradfuga._edits import InsertNormalization, SwapActivation
from gradfuga._trial.bench import UNTREATED
from gradfuga._trial.controls import Controls
from gradfuga._types import Prescription, Safety
from gradfuga.experiment import ArmKind, Treatment

SEEDS, STEPS = range(3), 400


def treatment(title, edit, *, lasting=True):
    prescriptions = (Prescription("RX999", title, (), Safety.UNSAFE, (edit,)),)
    return Treatment(title, prescriptions, safety=Safety.UNSAFE, lasting=lasting)


SMALL = treatment("small", SwapActivation("relu"))
LARGE = treatment("large", InsertNormalization("layer"))
BY_HAND = treatment("by hand", InsertNormalization("batch"), lasting=False)


def level(value):
    """Progress that differs a little from seed to seed."""
    return lambda _steps, seed: value + 0.002 * (seed - 1)


def held(progress, candidates, *, longer=False, breaks=()):
    pool = Simulated({k: level(v) for k, v in progress.items()}, breaks=breaks)
    bench = pool.bench(STEPS)
    untreated, winner = bench.arms([UNTREATED, SMALL], SEEDS, STEPS)
    if breaks:
        bench.arms([each for each in candidates if each.title in breaks], [0], STEPS)
    return Controls(bench, untreated, candidates, SEEDS, STEPS, longer).hold(winner)


def test_a_blind_draw_that_does_clearly_better_takes_the_place_and_the_smaller_is_named():
    found = held({"small": 0.88, "large": 0.97}, [SMALL, LARGE])
    assert found.winner.treatment is LARGE
    assert found.proven
    [note] = [note for note in found.notes if "small" in note]
    assert "0.97 against 0.88" in note or "0.88 against 0.97" in note


@pytest.mark.parametrize("theirs", [0.5, 0.9])
def test_one_that_does_no_better_stays_a_control(theirs):
    found = held({"small": 0.88, "large": theirs}, [SMALL, LARGE])
    assert found.winner.treatment is SMALL
    assert found.proven
    [control] = found.controls
    assert (control.treatment.title, control.treatment.kind) == ("large", ArmKind.RANDOM)
    assert len(control.runs) == len(SEEDS)
    assert not found.notes


def test_one_that_cannot_be_written_is_named_and_takes_no_place():
    found = held({"small": 0.7, "by hand": 0.97}, [SMALL, BY_HAND])
    assert found.winner.treatment is SMALL
    assert found.proven
    assert any("by hand" in note and "0.97 against 0.70" in note for note in found.notes)


def test_what_has_no_place_in_the_script_is_no_control():
    found = held({"small": 0.88, "large": 0.5}, [SMALL, BY_HAND, LARGE], breaks=("by hand",))
    assert [arm.treatment.title for arm in found.controls] == ["large"]


def test_more_patience_that_does_better_means_not_proven():
    found = held({"small": 0.2, "": 0.9}, [SMALL], longer=True)
    assert not found.proven
    assert "longer" in found.because


def test_that_there_was_no_control_is_said():
    found = held({"small": 0.88}, [SMALL])
    assert found.proven
    assert not found.controls
    assert any("no control" in note for note in found.notes)

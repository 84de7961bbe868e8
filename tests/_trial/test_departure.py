"""How far the reach leaves the limit, and what a run with a gate makes of it."""

import math

import pytest

from _trial.conftest import SICK
from gradfuga._edits import (
    Initialize,
    InsertNormalization,
    MoveNormalization,
    SetOptimizer,
    SwapActivation,
)
from gradfuga._trial.departure import departure
from gradfuga._types import DepthProfile, Prescription, Safety
from gradfuga.experiment import Treatment

LAYERS = 6  # of the script


@pytest.mark.parametrize(
    ("reach", "decades"),
    [((0.0, -1.3, 1.3), 0.0), ((0.0, -4.3), 3.0), ((0.2, 3.3), 2.0), ((0.0, -math.inf), math.inf)],
)
def test_the_departure_is_what_lies_beyond_the_limit_in_either_direction(reach, decades):
    assert departure(DepthProfile(("a",) * len(reach), reach)) == pytest.approx(decades)


def test_a_reach_that_was_not_read_is_not_taken_for_a_good_one():
    assert math.isnan(departure(DepthProfile()))


def edited(*edits):
    return Treatment("", (Prescription("RX001", "", (), Safety.UNSAFE, edits),))


@pytest.mark.parametrize(
    ("edits", "decades"),
    [
        # a sigmoid's slope is .2117 in the root mean square for unit variance, here at most a
        # quarter; layers of torch's own scale leave a third of the square
        ((SetOptimizer("lr", 2.0, relative=True),), LAYERS * math.log10(0.25 * 3**-0.5)),
        # the normalization gives the scale back, not the slope
        ((InsertNormalization("layer"),), LAYERS * math.log10(0.2117 * 1.8462)),
        # ReLU at He's scale keeps the norm
        ((SwapActivation("relu"), Initialize("fan_in", 2**0.5)), 0.0),
    ],
)
def test_only_a_reach_within_the_limit_passes_the_gate(run, edits, decades):
    found = run(SICK, treatment=edited(*edits), gated=True)
    # one network 16 wide: sqrt(5 L / n) / (2 ln 10) = .3 decades, three deviations
    assert min(found.depth.reach) == pytest.approx(decades, abs=0.9)
    assert found.steps == (40 if decades == 0.0 else 1)
    assert (departure(found.depth) == 0.0) == (decades == 0.0)


def test_what_finds_no_place_ends_at_the_gate(run):
    found = run(SICK, treatment=edited(MoveNormalization("pre")), gated=True)
    assert found.steps == 1
    assert found.failed

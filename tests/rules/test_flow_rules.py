"""FLW: weights out of reach, frozen weights, data that says nothing, targets too far away."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gradfuga._types import Kind, Role
from gradfuga.rules.flw001_disconnected import RULE as DISCONNECTED
from gradfuga.rules.flw002_frozen import RULE as FROZEN
from gradfuga.rules.flw003_data_or_labels import RULE as DATA
from gradfuga.rules.flw004_target_scale import RULE as TARGETS
from gradfuga.rules.flw005_gradient_wiped import RULE as WIPED
from rules.cases import SAMPLED, STANDING, Training, by_step, fires, flips_at, weight

IDLE = Training().that_learns_nothing()


def only(rule, training):
    (finding,) = rule.check(training.case)
    assert (finding.role, finding.cause) == (Role.CAUSE, rule.cause)
    return finding


# FLW001

CUT = (
    weight("head.weight"),
    weight("code.weight", reached=False),
    weight("trunk.0.weight", reached=False),
    weight("trunk.2.weight", reached=False),
)


def test_weights_that_the_loss_does_not_reach_are_found():
    finding = only(DISCONNECTED, IDLE.holding(*CUT))
    assert finding.paths == ("code.weight", "trunk.0.weight", "trunk.2.weight")
    assert "3 of the 4 weights" in finding.message
    assert flips_at(DISCONNECTED, IDLE.holding(*CUT), "share", 0.75)


def test_an_optimizer_of_another_model_is_told_so():
    finding = only(DISCONNECTED, IDLE.holding(weight("a", reached=False)))
    assert "reaches none of the 1 weights" in finding.message


def test_unreached_weights_of_a_network_that_learns_are_a_note():
    (finding,) = DISCONNECTED.check(Training().holding(*CUT).case)
    assert (finding.role, finding.cause) == (Role.NOTE, "")


def test_an_idle_pooler_is_no_reason():
    many = [weight(f"w{n}") for n in range(9)]
    assert not fires(DISCONNECTED, IDLE.holding(*many, weight("pooler", reached=False)))


def test_two_samples_may_miss_a_branch():
    assert fires(DISCONNECTED, IDLE.holding(*CUT).sampled_at(0, 1, 2))
    assert not fires(DISCONNECTED, IDLE.holding(*CUT).sampled_at(0, 1))


def test_biases_and_frozen_weights_are_not_missed():
    bias = replace(weight("head.bias", reached=False), shape=(16,))
    still = weight("a", trainable=False, reached=False)
    assert not fires(DISCONNECTED, IDLE.holding(weight("head.weight"), bias, still))


# FLW002


def test_a_network_frozen_by_a_slip_is_found():
    slip = IDLE.holding(
        weight("trunk.0.weight", trainable=False, optimized=False),
        weight("trunk.2.weight", trainable=True, optimized=False),
        weight("head.weight"),
    )
    finding = only(FROZEN, slip)
    assert finding.paths == ("trunk.0.weight", "trunk.2.weight")
    assert "2 of the 3 weights" in finding.message
    assert flips_at(FROZEN, slip, "share", 2 / 3)
    assert not fires(FROZEN, replace(slip, losses=Training().losses))


LISTED = (
    weight("head.weight"),
    *(weight(f"hidden.{n}.weight", registered=False, optimized=False) for n in range(3)),
)


def test_layers_in_a_plain_list_are_named_as_such():
    finding = only(FROZEN, IDLE.holding(*LISTED))
    assert len(finding.paths) == 3
    assert "'hidden.0.weight' in a plain list" in finding.message


def test_layers_in_a_plain_list_beside_what_learns_are_a_note():
    (finding,) = FROZEN.check(Training().holding(*LISTED).case)
    assert (finding.role, finding.cause) == (Role.NOTE, "")
    assert "3 of the 4 weights" in finding.message
    held = (weight("head.weight"), weight("hidden.0.weight", registered=False))
    assert not fires(FROZEN, Training().holding(*held))  # the optimizer got it by hand


# FLW003

NOISE = IDLE.with_reference(0.01)


def test_batches_from_which_nobody_learns_are_a_note_and_no_cause():
    (finding,) = DATA.check(NOISE.case)
    assert (finding.role, finding.cause) == (Role.NOTE, "")
    assert (finding.evidence[0].observed, finding.evidence[0].expected) == (0.01, 0.05)
    assert "By exclusion" in finding.message
    assert flips_at(DATA, NOISE, "found", 0.01)


OTHERWISE = {
    "the reference learns": IDLE.with_reference(0.6),
    "no reference": IDLE,
    "the gradient vanishes": NOISE.gains(linear=0.1),
    "the gradient explodes": NOISE.gains(linear=10.0),
    "the gradient vanished on the way": NOISE.reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1.0, 1e-3)
    ),
    "nobody is fed": NOISE.everywhere(Kind.UPDATE, "norm", 1e-9),
    "worse than a constant": NOISE.with_losses([9.0 + 0.01 * (-1) ** n for n in range(100)]),
    "gradients pile up": NOISE.reading("optimizer", Kind.WEIGHT_GRAD, "stale", 0.9),
    "cut off": NOISE.holding(*CUT),
    "frozen": NOISE.holding(
        weight("a"), weight("b", trainable=False), weight("c", optimized=False)
    ),
    "decayed": NOISE.with_settings(weight_decay=1.0)
    .reading("layer.0.weight", Kind.WEIGHT, "norm", by_step(1.0, 0.4))
    .reading("layer.0.weight", Kind.WEIGHT_GRAD, "norm", 0.01),
    "a layer is dead": replace(NOISE, activation="ReLU")
    .reading("act.0", Kind.ACTIVATION, "dead_share", by_step(0.0, 1.0))
    .reading("layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1.0, 0.0)),
    "nineteen steps": NOISE.sampled_at(0, 1, 2, 4, 8, 16).with_losses(STANDING[:19]),
}


@pytest.mark.parametrize("why", OTHERWISE)
def test_the_data_is_not_blamed_while_anything_else_can_be(why):
    assert not fires(DATA, OTHERWISE[why])


def test_inputs_that_are_not_finite_are_found():
    broken = Training().with_losses([1.5, 1.5, *[math.nan] * 98])
    finding = only(DATA, broken.reading("input", Kind.ACTIVATION, "nonfinite", {0: 0.0, 2: 7.0}))
    assert "goes into the model" in finding.message
    assert "at step 2" in finding.message
    assert finding.evidence[0].observed == 7.0


def test_targets_that_are_not_finite_are_found():
    broken = Training().with_losses([1.5, 1.5, *[math.nan] * 98])
    finding = only(DATA, broken.reading("target", Kind.LOSS, "nonfinite", {2: 7.0}))
    assert "targets" in finding.message
    assert finding.evidence[0].path == "target"


def test_data_that_are_not_finite_and_break_nothing_are_not():
    assert not fires(DATA, Training().reading("input", Kind.ACTIVATION, "nonfinite", 7.0))


def test_inputs_that_tell_no_example_from_another_are_found():
    same = IDLE.reading("input", Kind.ACTIVATION, "varying", {0: 0.0, 1: 0.0, 2: 0.0})
    finding = only(DATA, same)
    assert "in each of 3 batches" in finding.message
    assert finding.evidence[0].observed == 0.0
    empty = same.reading("input", Kind.ACTIVATION, "empty", {0: 1.0, 1: 1.0, 2: 1.0})
    assert "no value at all" in only(DATA, empty).message
    some = same.reading("input", Kind.ACTIVATION, "empty", {0: 1.0, 1: 0.0, 2: 1.0})
    assert "no value at all" not in only(DATA, some).message


# FLW004


def regression(offset, *, unit=1.0, node="MseLossBackward0", losses=STANDING):
    """Return a regression whose targets lie `offset` from the outputs, worked out in NumPy."""
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((64, 16))
    targets = offset + rng.standard_normal((64, 16))
    error = outputs - targets
    loss = unit * (error**2).mean()
    gradient = unit * 2.0 * error / error.size
    made = Training(loss_node=node, losses=losses)
    made = made.reading("loss_op", Kind.LOSS, "value", loss)
    made = made.reading("head", Kind.ACTIVATION_GRAD, "norm", float(np.linalg.norm(gradient)))
    return made, math.sqrt((error**2).mean())


def test_targets_far_away_are_found_at_their_true_distance():
    far, distance = regression(1e6)
    finding = only(TARGETS, far)
    assert finding.evidence[0].observed == pytest.approx(distance, rel=1e-12)
    assert finding.evidence[0].expected == 1.0  # input_rms 1 times scale 1
    assert flips_at(TARGETS, far, "far", finding.evidence[0].observed)


@pytest.mark.parametrize("unit", [1e-8, 1e6])
def test_the_unit_of_the_loss_does_not_matter(unit):
    scaled, distance = regression(1e6, unit=unit)
    assert only(TARGETS, scaled).evidence[0].observed == pytest.approx(distance, rel=1e-12)
    near, _ = regression(1.0, unit=unit)
    assert not fires(TARGETS, near)


def test_large_outputs_are_as_near_to_large_targets():
    far, _ = regression(1e3)
    assert fires(TARGETS, far)
    assert not fires(TARGETS, far.reading("head", Kind.WEIGHT, "scale", 1e3))


def test_targets_are_not_blamed_where_the_network_learns_or_classifies():
    learned, _ = regression(1e6, losses=Training().losses)
    assert not fires(TARGETS, learned)
    classes, _ = regression(1e6, node="NllLossBackward0")
    assert not fires(TARGETS, classes)


def tiny_targets(spread):
    """Return a regression whose targets spread by `spread` beside outputs of unit size."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((64, 16)), spread * rng.standard_normal((64, 16))
    error = outputs - targets
    constant = float(targets.var())
    made = Training(
        loss_node="MseLossBackward0",
        baseline=constant,
        losses=((error**2).mean(), *[100.0 * constant] * 99),
    )
    made = made.reading("loss_op", Kind.LOSS, "value", float((error**2).mean()))
    size = float(np.linalg.norm(2.0 * error / error.size))
    return made.reading("head", Kind.ACTIVATION_GRAD, "norm", size), float(targets.std())


def test_tiny_targets_are_found_at_their_true_spread():
    made, spread = tiny_targets(1e-5)
    finding = only(TARGETS, made)
    assert finding.evidence[0].statistic == "target_spread"
    assert finding.evidence[0].observed == pytest.approx(spread, rel=1e-9)
    assert not fires(TARGETS, tiny_targets(0.1)[0])
    constant = float(spread**2)
    assert not fires(TARGETS, made.with_losses([1.0, *[constant] * 99]))  # as good as a constant


# FLW005


def given(coefficients):
    return IDLE.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", coefficients)


def test_a_gradient_that_never_arrives_at_the_step_is_found():
    finding = only(WIPED, given(0.0))
    assert (finding.evidence[0].observed, finding.evidence[0].expected) == (0.0, 1.0)
    assert not fires(WIPED, given(1e-30))  # clipped, however hard, is not cleared
    assert not fires(WIPED, given({0: 0.0, 1: 0.0}))
    assert fires(WIPED, given({0: 0.0, 1: 0.0, 2: 0.0}))


def test_a_step_that_is_skipped_now_and_then_is_none():
    once = dict.fromkeys(SAMPLED, 0.0) | {0: 1.0}  # 10 of 11
    assert fires(WIPED, given(once))
    assert not fires(WIPED, given(once | {1: 1.0}))
    assert not fires(WIPED, given(once), share=0.95)

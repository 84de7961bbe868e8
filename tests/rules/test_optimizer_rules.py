"""OPT: the learning rate, weight decay, stale gradients, clipping and epsilon."""

import math
from dataclasses import replace

import pytest

from gradfuga._types import Kind, Role
from gradfuga.rules.opt001_learning_rate_too_high import RULE as TOO_HIGH
from gradfuga.rules.opt002_learning_rate_too_low import RULE as TOO_LOW
from gradfuga.rules.opt003_weight_decay_too_strong import RULE as DECAY
from gradfuga.rules.opt004_gradients_not_zeroed import RULE as STALE
from gradfuga.rules.opt005_clipped_away import RULE as CLIPPED
from gradfuga.rules.opt006_adam_epsilon import RULE as EPSILON
from rules.cases import STANDING, Training, by_step, fires, flips_at, weight

IDLE = Training().that_learns_nothing()


def only(rule, training):
    (finding,) = rule.check(training.case)
    assert (finding.role, finding.cause) == (Role.CAUSE, rule.cause)
    return finding


def stale(training):
    return training.reading("optimizer", Kind.WEIGHT_GRAD, "stale", {**by_step(0.95, 0.99), 0: 0.0})


# OPT001

BROKEN = Training().with_losses([2.0, 5.0, 90.0, math.inf, *[math.nan] * 96])


def test_numbers_that_break_on_a_sound_path_blame_the_learning_rate():
    finding = only(TOO_HIGH, BROKEN)
    assert "learning rate 0.1" in finding.message
    assert "step 3" in finding.message


@pytest.mark.parametrize(("size", "said"), [(479.0, True), (1.0, False)])
def test_data_that_makes_the_steps_long_is_told_to_be_standardized(size, said):
    finding = only(TOO_HIGH, BROKEN.reading("layer.0", Kind.ACTIVATION, "input_rms", size))
    assert ("is of size 479" in finding.message) == said
    assert ("input_rms" in [each.statistic for each in finding.evidence]) == said


def test_numbers_that_break_on_an_exploding_path_do_not():
    assert not fires(TOO_HIGH, BROKEN.gains(linear=10.0))


def test_numbers_that_break_because_the_data_is_broken_do_not():
    assert not fires(TOO_HIGH, BROKEN.reading("input", Kind.ACTIVATION, "nonfinite", 3.0))


def test_numbers_that_break_from_one_step_to_the_next_do_not():
    assert not fires(TOO_HIGH, Training().with_losses([2.0, 1.9, 1.8, *[math.nan] * 97]))


def test_a_loss_that_ends_worse_than_it_began_and_than_a_constant_blames_it():
    worse = Training().with_losses([2.0, 3.0, *[5.0 + 0.01 * (-1) ** n for n in range(98)]])
    finding = only(TOO_HIGH, worse)
    assert "rose from 2 to 5" in finding.message
    assert flips_at(TOO_HIGH, worse, "worse", worse.case.progress.u)


def test_a_loss_that_comes_down_from_far_above_the_constant_does_not():
    falling = Training().with_losses([50.0 - 0.3 * n for n in range(100)])
    assert falling.case.progress.u < TOO_HIGH.worse
    assert not fires(TOO_HIGH, falling)


def test_units_that_died_on_the_way_blame_it():
    killed = (
        Training(activation="ReLU", losses=STANDING)
        .reading("act.0", Kind.ACTIVATION, "dead_share", by_step(0.0, 1.0))
        .reading("layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1.0, 0.0))
    )
    assert not fires(TOO_HIGH, killed)  # alive, then dead: that alone blames no step
    wild = killed.reading("layer.0.weight", Kind.UPDATE, "norm", {**by_step(0.05, 0.05), 4: 0.6})
    finding = only(TOO_HIGH, wild)
    assert finding.paths == ("act.0",)
    assert flips_at(TOO_HIGH, wild, "violent", 0.6)
    graph = wild.graph
    at_output = replace(graph, outputs=(2,), layers=graph.layers[1:], uses=graph.uses[1:])
    output = replace(wild, graph_of=at_output)
    for path in ("act.3", "layer.3"):
        output = output.reading(path, Kind.ACTIVATION_GRAD, "norm", by_step(1.0, 0.0))
    output = output.reading("act.3", Kind.ACTIVATION, "dead_share", by_step(0.0, 1.0)).reading(
        "act.0", Kind.ACTIVATION, "dead_share", 0.0
    )
    assert output.case.dead_layers[-1] == ("act.3",)
    assert not fires(TOO_HIGH, output)
    born = wild.reading("act.0", Kind.ACTIVATION, "dead_share", 1.0).reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", 0.0
    )
    assert not fires(TOO_HIGH, born)


def jump(peak, ratio):
    losses = [2.0, peak, *STANDING[2:]]
    return (
        Training()
        .with_losses(losses)
        .reading("layer.0.weight", Kind.UPDATE, "norm", {**by_step(0.05, 0.05), 1: ratio})
    )


def test_an_early_jump_of_the_loss_under_violent_steps_blames_it():
    finding = only(TOO_HIGH, jump(30.0, 0.9))
    assert "jumped from 2 to 30" in finding.message
    assert finding.evidence[0].observed == pytest.approx(0.9)
    assert flips_at(TOO_HIGH, jump(30.0, 0.9), "violent", 0.9)
    assert flips_at(TOO_HIGH, jump(30.0, 0.9), "jump", 15.0)


@pytest.mark.parametrize(("peak", "ratio"), [(30.0, 0.4), (10.0, 0.9)])
def test_a_jump_without_violence_or_violence_without_a_jump_does_not(peak, ratio):
    assert not fires(TOO_HIGH, jump(peak, ratio))


def test_gradients_that_pile_up_are_not_the_learning_rates_fault():
    worse = Training().with_losses([2.0, 3.0, *[5.0 + 0.01 * (-1) ** n for n in range(98)]])
    assert not fires(TOO_HIGH, stale(worse))
    assert not fires(TOO_HIGH, stale(BROKEN))


def test_steps_that_led_nowhere_did_not_lead_astray():
    worse = Training().with_losses([2.0, 3.0, *[5.0 + 0.01 * (-1) ** n for n in range(98)]])
    crawling = worse.everywhere(Kind.UPDATE, "norm", 5e-3)
    assert not fires(TOO_HIGH, crawling)
    assert flips_at(TOO_HIGH, crawling, "moved", 5e-3 * 100)


# OPT002

TINY = IDLE.with_settings(lr=1e-8).everywhere(Kind.UPDATE, "norm", 1e-8)


def test_steps_that_lead_nowhere_blame_the_learning_rate():
    finding = only(TOO_LOW, TINY)
    assert finding.evidence[0].observed == pytest.approx(1e-8 * 100)
    rate = finding.evidence[1]
    assert rate.observed == 1e-8
    assert rate.expected == pytest.approx(1e-8 * 0.01 / 1e-6)  # that feeds a hundredth
    assert flips_at(TOO_LOW, TINY, "fed", finding.evidence[0].observed)


def test_a_gradient_that_is_lost_on_the_way_is_not_the_learning_rates_fault():
    # every layer keeps a tenth, and the layer next to the output gets its feed from elsewhere
    vanished = TINY.gains(linear=0.1).reading("layer.0.weight", Kind.UPDATE, "norm", 1e-12)
    assert not fires(TOO_LOW, vanished)
    assert fires(TOO_LOW, vanished, beyond=4.1)
    assert fires(TOO_LOW, TINY.gains(linear=0.1))  # all are fed alike: the rate starves them


def test_one_layer_that_moves_is_enough():
    assert not fires(TOO_LOW, TINY.reading("head.weight", Kind.UPDATE, "norm", 1e-3))


def test_weights_without_any_gradient_are_not_the_learning_rates_fault():
    assert not fires(TOO_LOW, TINY.everywhere(Kind.WEIGHT_GRAD, "norm", 0.0))


def test_a_frozen_or_unreached_network_is_not_the_learning_rates_fault():
    still = [weight(f"w{n}", trainable=False) for n in range(3)]
    assert not fires(TOO_LOW, TINY.holding(weight("head.weight"), *still))
    assert not fires(TOO_LOW, TINY.holding(weight("a", reached=False), weight("b", reached=False)))


# OPT005, OPT006: what shortens the steps besides


def test_clipping_that_leaves_nothing_is_blamed_and_the_learning_rate_is_not():
    clipped = IDLE.everywhere(Kind.UPDATE, "norm", 1e-8).reading(
        "optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-6
    )
    finding = only(CLIPPED, clipped)
    assert finding.evidence[0].observed == pytest.approx(1e-6)
    assert "without the clipping it would by 1." in finding.message
    assert not fires(TOO_LOW, clipped)
    assert flips_at(CLIPPED, clipped, "fed", finding.evidence[1].observed)


def test_clipping_of_what_would_be_too_small_anyway_is_not_blamed():
    mild = TINY.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 0.5)
    assert not fires(CLIPPED, mild)
    assert fires(TOO_LOW, mild)


def adam(attenuation, moved=1e-8):
    made = IDLE.using("Adam").with_settings(lr=1e-3, eps=1.0)
    made = made.everywhere(Kind.UPDATE, "attenuation", attenuation)
    return made.everywhere(Kind.UPDATE, "norm", moved)


def test_an_epsilon_far_above_the_gradient_is_blamed_and_the_learning_rate_is_not():
    finding = only(EPSILON, adam(1e-5))
    assert "Epsilon (1)" in finding.message
    assert finding.evidence[0].observed == pytest.approx(1e-5)
    assert not fires(TOO_LOW, adam(1e-5))
    assert flips_at(EPSILON, adam(1e-5), "fed", finding.evidence[1].observed)


def test_an_epsilon_that_leaves_the_steps_alone_is_not_blamed():
    assert not fires(EPSILON, adam(0.9))
    assert fires(TOO_LOW, adam(0.9))
    assert not fires(EPSILON, adam(1e-5, moved=0.05))


def test_adam_is_not_slowed_by_clipping():
    clipped = adam(1.0).reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-6)
    assert not fires(CLIPPED, clipped)
    assert fires(TOO_LOW, clipped)


@pytest.mark.parametrize("rule", [TOO_LOW, CLIPPED, EPSILON], ids=lambda rule: rule.code)
def test_nineteen_steps_are_a_trial_and_no_training(rule):
    sick = {
        TOO_LOW: TINY,
        CLIPPED: IDLE.everywhere(Kind.UPDATE, "norm", 1e-6).reading(
            "optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-6
        ),
        EPSILON: adam(1e-5, moved=1e-6),
    }[rule].sampled_at(0, 1, 2, 4, 8, 16)
    assert fires(rule, sick.with_losses(STANDING[:20]))
    assert not fires(rule, sick.with_losses(STANDING[:19]))


# OPT003

SHRUNK = IDLE.with_settings(weight_decay=1.0).reading(
    "layer.0.weight", Kind.WEIGHT, "norm", by_step(1.0, 0.4)
)


def test_weights_that_decay_outdoes_are_blamed_on_it():
    finding = only(DECAY, SHRUNK.reading("layer.0.weight", Kind.WEIGHT_GRAD, "norm", 0.1))
    assert finding.paths == ("layer.0.weight",)
    assert (finding.evidence[0].observed, finding.evidence[0].expected) == (0.4, 1.0)
    assert finding.evidence[1].observed == pytest.approx(1.0 * 0.4 / 0.1)  # wd |w| / |g|


def test_weights_whose_gradient_still_wins_are_not():
    assert not fires(DECAY, SHRUNK.reading("layer.0.weight", Kind.WEIGHT_GRAD, "norm", 0.5))


def test_shrunk_weights_that_starve_what_lies_below_are_blamed_on_it():
    starving = SHRUNK.reading("layer.0.weight", Kind.WEIGHT_GRAD, "norm", 0.5).reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1.0, 1e-2)
    )
    assert fires(DECAY, starving)
    assert not fires(DECAY, starving, limit=2.1)


def test_decay_flips_where_the_weight_falls_below_half():
    strong = SHRUNK.reading("layer.0.weight", Kind.WEIGHT_GRAD, "norm", 0.1)
    assert flips_at(DECAY, strong, "shrunk", 0.4)


def test_without_decay_shrinking_is_nobodys_fault_here():
    assert not fires(DECAY, SHRUNK.with_settings(weight_decay=0.0))


def test_decoupled_decay_is_held_against_the_step_and_not_the_gradient():
    adamw = SHRUNK.using("AdamW").with_settings(lr=0.01)
    # decay takes 0.01 * 1.0 * 0.4 = 0.004 a step
    slow = adamw.reading("layer.0.weight", Kind.UPDATE, "norm", 0.005)
    fast = adamw.reading("layer.0.weight", Kind.UPDATE, "norm", 0.05)
    assert only(DECAY, slow).evidence[1].observed == pytest.approx(0.004 / 0.001)
    assert not fires(DECAY, fast)


# OPT004


def test_gradients_that_are_never_zeroed_are_found():
    finding = only(STALE, stale(IDLE))
    assert finding.evidence[0].observed == pytest.approx(0.95)  # six of .95, four of .99
    assert "95%" in finding.message
    assert flips_at(STALE, stale(IDLE), "stale", finding.evidence[0].observed)


def test_in_a_training_that_learns_they_are_a_note():
    (finding,) = STALE.check(stale(Training()).case)
    assert (finding.role, finding.cause) == (Role.NOTE, "")


def test_a_gradient_that_was_left_once_is_no_habit():
    once = IDLE.reading("optimizer", Kind.WEIGHT_GRAD, "stale", {**by_step(0.0, 0.0), 4: 0.9})
    assert not fires(STALE, once)


def test_two_samples_are_no_habit():
    assert fires(STALE, stale(IDLE).sampled_at(0, 1, 2, 4))
    short = IDLE.reading("optimizer", Kind.WEIGHT_GRAD, "stale", {0: 0.0, 1: 0.9, 2: 0.9})
    assert not fires(STALE, short)

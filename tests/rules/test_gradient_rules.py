"""GRD: symptoms of the gradient, the signal and the loss, and the notes on what was overcome."""

import math
from dataclasses import replace

import pytest

from gradfuga._types import Axis, Kind, Role, Severity
from gradfuga.flow import FlowGraph
from gradfuga.rules.grd001_vanishing_gradient import RULE as VANISHING
from gradfuga.rules.grd002_exploding_gradient import RULE as EXPLODING
from gradfuga.rules.grd003_non_finite import RULE as NON_FINITE
from gradfuga.rules.grd004_forward_collapse import RULE as COLLAPSE
from gradfuga.rules.grd005_starved_layer import RULE as STARVED
from gradfuga.rules.grd006_batch_cancellation import RULE as CANCELLATION
from gradfuga.rules.grd007_no_progress import RULE as NO_PROGRESS
from gradfuga.rules.grd008_lost_time import RULE as LOST_TIME
from gradfuga.rules.grd009_dead_units import RULE as DEAD_UNITS
from rules.cases import BASELINE, STANDING, Training, by_step, fires, flips_at

SHRINKING = Training().gains(linear=0.1).that_learns_nothing()
GROWING = Training().gains(linear=10.0).that_learns_nothing()
IDLE = Training().that_learns_nothing()


def only(rule, training):
    (finding,) = rule.check(training.case)
    return finding


# GRD001


def test_a_gradient_that_shrinks_tenfold_a_layer_vanishes():
    finding = only(VANISHING, SHRINKING)
    assert (finding.role, finding.severity, finding.axis) == (
        Role.SYMPTOM,
        Severity.FATAL,
        Axis.DEPTH,
    )
    assert finding.paths == ("layer.0", "layer.1", "layer.2")  # -4, -3, -2; layer.3 is at -1
    assert [each.observed for each in finding.evidence] == pytest.approx([-4.0, -3.0, -2.0])
    assert {each.expected for each in finding.evidence} == {-1.30}
    assert "3 of 5 layers" in finding.message
    assert "'layer.0' it is 10 thousand times smaller" in finding.message
    assert finding.source[0].line == 10


def test_vanishing_flips_exactly_at_its_limit():
    lowest = only(VANISHING, SHRINKING).evidence[0].observed
    assert flips_at(VANISHING, SHRINKING, "limit", -lowest)


def test_a_gradient_that_healed_still_counts_where_progress_is_poor():
    healed = Training(losses=tuple(2.0 - 0.004 * step for step in range(100))).reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", by_step(1e-3, 1.0)
    )
    assert healed.case.progress.open
    assert not fires(VANISHING, healed.with_losses(Training().losses))
    assert only(VANISHING, healed.with_reference(0.9)).severity is Severity.SERIOUS


def test_an_exact_zero_is_no_vanished_gradient():
    zero = IDLE.reading("layer.0", Kind.ACTIVATION_GRAD, "norm", 0.0)
    assert not fires(VANISHING, zero)


def test_a_low_reach_without_consequence_is_mild():
    assert only(VANISHING, Training().gains(linear=0.1)).severity is Severity.MILD


# GRD002


def test_a_gradient_that_grows_tenfold_a_layer_explodes():
    finding = only(EXPLODING, GROWING)
    assert finding.severity is Severity.FATAL
    assert finding.paths == ("layer.0", "layer.1", "layer.2")
    assert finding.evidence[0].observed == pytest.approx(4.0)
    assert flips_at(EXPLODING, GROWING, "limit", finding.evidence[0].observed)


def test_only_the_start_of_an_explosion_counts():
    later = IDLE.reading("layer.0", Kind.ACTIVATION_GRAD, "norm", {**by_step(1e5, 1e5), 0: 1.0})
    assert not fires(EXPLODING, later)


def test_where_something_is_learned_twice_the_limit_is_tolerated():
    half = Training(losses=tuple(2.0 - 0.004 * step for step in range(100)))
    low = half.reading("layer.0", Kind.ACTIVATION_GRAD, "norm", 10**2.5)
    high = half.reading("layer.0", Kind.ACTIVATION_GRAD, "norm", 10**2.7)
    assert not fires(EXPLODING, low)
    assert fires(EXPLODING, high)


# GRD003


def test_the_first_infinite_loss_is_found():
    losses = [2.0] * 50 + [math.inf] + [math.nan] * 49
    finding = only(NON_FINITE, Training().with_losses(losses))
    assert finding.severity is Severity.FATAL
    assert "step 50" in finding.message
    assert (finding.evidence[0].observed, finding.evidence[0].expected) == (math.inf, 2.0)


def test_a_broken_gradient_is_found_and_named():
    broken = (
        Training()
        .reading("layer.1.weight", Kind.WEIGHT_GRAD, "norm", {**by_step(1.0, 1.0), 64: math.inf})
        .reading("layer.1.weight", Kind.WEIGHT, "norm", {**by_step(1.0, 1.0), 99: math.inf})
    )
    finding = only(NON_FINITE, broken)
    assert finding.paths == ("layer.1.weight",)
    assert "'layer.1.weight'" in finding.message


def test_a_step_that_a_scaler_skips_is_none():
    skipped = Training().reading(
        "layer.1.weight", Kind.WEIGHT_GRAD, "norm", {**by_step(1.0, 1.0), 64: math.inf}
    )
    assert not fires(NON_FINITE, skipped)


# GRD004


def test_a_signal_that_fades_is_found():
    fading = IDLE
    for place, path in enumerate(("head", "layer.3", "layer.2", "layer.1")):
        fading = fading.reading(path, Kind.ACTIVATION, "input_rms", 10.0 ** (place - 3))
    finding = only(COLLAPSE, fading)
    assert finding.evidence[0].observed == pytest.approx(1e-3)
    assert finding.evidence[0].expected == pytest.approx(1.0)
    assert "1000 times smaller" in finding.message
    assert fires(COLLAPSE, fading, limit=2.99)
    assert not fires(COLLAPSE, fading, limit=3.01)


def test_a_signal_of_zero_is_said_to_be_none():
    finding = only(COLLAPSE, IDLE.reading("head", Kind.ACTIVATION, "input_rms", 0.0))
    assert "No signal reaches 'head'" in finding.message


def test_the_size_of_the_raw_input_says_nothing():
    assert not fires(COLLAPSE, IDLE.reading("layer.0", Kind.ACTIVATION, "input_rms", 1e4))


def test_a_signal_that_is_the_same_for_all_examples_is_found():
    uniform = IDLE.reading("head", Kind.ACTIVATION, "batch_variation", 0.01)
    finding = only(COLLAPSE, uniform)
    assert finding.paths == ("head",)
    assert "nearly the same for every example" in finding.message
    assert flips_at(COLLAPSE, uniform, "least_variation", 0.01)


def test_a_uniform_signal_in_a_network_that_learns_is_no_symptom():
    uniform = Training().reading("head", Kind.ACTIVATION, "batch_variation", 0.01)
    assert not fires(COLLAPSE, uniform)


# GRD005


def test_a_layer_that_stands_still_while_others_move_is_starved():
    hungry = IDLE.reading("layer.0.weight", Kind.UPDATE, "norm", 1e-5)
    finding = only(STARVED, hungry)
    assert finding.paths == ("layer.0",)
    assert finding.evidence[0].observed == pytest.approx(1e-5 * 100)
    assert "those of 'head' by 5" in finding.message
    assert flips_at(STARVED, hungry, "starved", finding.evidence[0].observed)


def test_starving_needs_others_that_move_ten_times_more():
    slow = IDLE.everywhere(Kind.UPDATE, "norm", 5e-4)
    slow = slow.reading("layer.0.weight", Kind.UPDATE, "norm", 1e-4)
    assert not fires(STARVED, slow)
    assert fires(STARVED, slow, against=5.0)


def test_where_nobody_moves_no_single_layer_is_starved():
    still = IDLE.everywhere(Kind.UPDATE, "norm", 5e-5)
    still = still.reading("layer.0.weight", Kind.UPDATE, "norm", 1e-9)
    assert not fires(STARVED, still)
    assert flips_at(STARVED, still, "moves", 5e-5 * 100)


def test_a_layer_that_is_meant_to_be_slow_is_not_starved_where_the_network_learns():
    hungry = Training().reading("layer.0.weight", Kind.UPDATE, "norm", 1e-5)
    assert not fires(STARVED, hungry)
    unreached = hungry.reading("layer.0", Kind.ACTIVATION_GRAD, "norm", 1e-2)
    assert only(STARVED, unreached).severity is Severity.MILD


# GRD006


def test_examples_that_cancel_are_found():
    # 64 examples, 16 inputs: apart they leave 8 * 1 * 1 * 4 = 32, together 0.01
    cancelled = IDLE.reading("head.weight", Kind.WEIGHT_GRAD, "norm", 0.01)
    finding = only(CANCELLATION, cancelled)
    assert finding.evidence[0].observed == pytest.approx(0.01 / 32)
    assert finding.evidence[0].expected == pytest.approx(1 / 8)
    assert flips_at(CANCELLATION, cancelled, "below_chance", finding.evidence[0].observed * 8)


def test_examples_without_anything_in_common_do_not_cancel():
    assert not fires(CANCELLATION, IDLE.reading("head.weight", Kind.WEIGHT_GRAD, "norm", 4.0))


def test_cancellation_of_a_converged_network_is_no_symptom():
    assert not fires(
        CANCELLATION, Training().reading("head.weight", Kind.WEIGHT_GRAD, "norm", 0.01)
    )


# GRD007


def test_a_loss_at_the_best_constant_is_no_progress():
    finding = only(NO_PROGRESS, IDLE)
    assert finding.severity is Severity.FATAL
    assert finding.evidence[0].expected == BASELINE
    assert finding.evidence[1].observed == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("loss", "found"), [(1.985, True), (1.975, False)])
def test_nothing_learned_ends_at_a_hundredth_of_the_way(loss, found):
    noise = [loss + each - BASELINE for each in STANDING]
    assert fires(NO_PROGRESS, Training().with_losses(noise)) is found


def test_nineteen_steps_are_too_few_to_have_learned_nothing():
    short = replace(IDLE, sampled=(0, 1, 2, 4, 8, 16))
    assert fires(NO_PROGRESS, short.with_losses(STANDING[:20]))
    assert not fires(NO_PROGRESS, short.with_losses(STANDING[:19]))


# GRD008


def test_a_run_that_lost_a_quarter_of_its_time_gets_a_note():
    losses = [*([2.0] * 60), *([0.01] * 40)]
    late = Training(losses=tuple(losses), sampled=tuple(range(0, 100, 2))).reading(
        "layer.0",
        Kind.ACTIVATION_GRAD,
        "norm",
        {s: 1e-3 if s < 40 else 1.0 for s in range(0, 100, 2)},
    )
    finding = only(LOST_TIME, late)
    assert (finding.role, finding.severity) == (Role.NOTE, Severity.MILD)
    assert finding.evidence[0].observed == pytest.approx(0.40)
    assert "40% of the run (40 steps)" in finding.message
    assert flips_at(LOST_TIME, late, "most_lost", finding.evidence[0].observed)


def test_time_that_led_nowhere_is_a_symptom_and_no_note():
    assert not fires(LOST_TIME, SHRINKING)


# GRD009


def test_a_layer_with_half_of_its_units_dead_gets_a_note():
    halved = Training(activation="ReLU").reading("act.1", Kind.ACTIVATION, "dead_share", 0.6)
    finding = only(DEAD_UNITS, halved)
    assert (finding.role, finding.paths) == (Role.NOTE, ("act.1",))
    assert "60%" in finding.message
    assert flips_at(DEAD_UNITS, halved, "most_dead", 0.6)


def test_dead_units_of_a_network_that_learns_nothing_are_left_to_the_cause():
    halved = IDLE.reading("act.1", Kind.ACTIVATION, "dead_share", 0.6)
    assert not fires(DEAD_UNITS, halved)


def test_no_symptom_is_read_off_a_graph_that_could_not_be_opened():
    opaque = replace(SHRINKING, graph_of=FlowGraph())
    for rule in (VANISHING, EXPLODING, COLLAPSE, STARVED, CANCELLATION, LOST_TIME, DEAD_UNITS):
        assert not fires(rule, opaque), rule.code

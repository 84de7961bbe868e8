"""NUM, OPT007, OPT008: steps that are lost between the gradient and the weights."""

import math

import pytest

from gradfuga._diagnose import diagnose
from gradfuga._types import Kind, Role, Verdict
from gradfuga.analysis.judgement import Why, judge
from gradfuga.analysis.tolls import BELOW_DESIGN, NO_RATE, TENTH, Taker, held_back, tolls
from gradfuga.rules.num001_precision_underflow import RULE as UNDERFLOW
from gradfuga.rules.num002_swallowed_update import RULE as SWALLOWED
from gradfuga.rules.num003_skipped_steps import RULE as SKIPPED
from gradfuga.rules.opt002_learning_rate_too_low import RULE as TOO_LOW
from gradfuga.rules.opt005_clipped_away import RULE as CLIPPED
from gradfuga.rules.opt006_adam_epsilon import RULE as EPSILON
from gradfuga.rules.opt007_adagrad_decay import RULE as ADAGRAD
from gradfuga.rules.opt008_rate_at_zero import RULE as SCHEDULE
from rules.cases import SAMPLED, Training, fires, flips_at

STEPS = 100
# Weights that turn over a tenth of once in the run: too little to learn by.
SLOW = Training().that_learns_nothing().everywhere(Kind.UPDATE, "norm", 1e-3)


def underflow(lost):
    return SLOW.reading("layer.2", Kind.ACTIVATION, "flushed_norm", lost)


def swallowed(share, wanted=0.02):
    made = SLOW.everywhere(Kind.UPDATE, "swallowed", share)
    return made.everywhere(Kind.UPDATE, "wanted_norm", wanted)


def skipped(share):
    counted = {step: round(share * (step + 1), 6) for step in SAMPLED}
    made = SLOW.reading("optimizer", Kind.UPDATE, "skipped_steps", counted)
    return made.reading("optimizer", Kind.WEIGHT_GRAD, "loss_scale", 2.0**-8)


def adagrad(share):
    return SLOW.everywhere(Kind.UPDATE, "adagrad_share", share)


def schedule(until, late=0.0):
    rates = {step: 0.1 if step < until else late for step in SAMPLED}
    made = SLOW.everywhere(Kind.UPDATE, "norm", {s: 0.02 * (s < until) for s in SAMPLED})
    return made.reading("optimizer", Kind.UPDATE, "learning_rate", rates)


def clipped(left):
    # what is left would not turn the weights over, and the whole step would
    made = SLOW.everywhere(Kind.UPDATE, "norm", 2e-3)
    return made.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", left)


def attenuated(left):
    made = SLOW.everywhere(Kind.UPDATE, "norm", 2e-3)
    return made.everywhere(Kind.UPDATE, "attenuation", left)


SICK = {
    "underflow": (UNDERFLOW, underflow(0.9), "precision_underflow"),
    "swallowed": (SWALLOWED, swallowed(0.95), "swallowed_update"),
    "skipped": (SKIPPED, skipped(0.98), "precision_underflow"),
    "adagrad": (ADAGRAD, adagrad(1e-4), "learning_rate_too_low"),
    "schedule": (SCHEDULE, schedule(9), "learning_rate_too_low"),
    "clipping": (CLIPPED, clipped(0.05), "clipped_away"),
    "epsilon": (EPSILON, attenuated(0.05), "adam_epsilon"),
}


@pytest.mark.parametrize("name", SICK)
def test_what_takes_the_steps_is_blamed_and_nothing_else(name):
    rule, training, cause = SICK[name]
    (finding,) = rule.check(training.case)
    assert (finding.role, finding.cause) == (Role.CAUSE, cause)
    for other, _, _ in SICK.values():
        assert other is rule or not fires(other, training)
    assert not fires(TOO_LOW, training)


@pytest.mark.parametrize("name", SICK)
def test_the_verdict_is_stalled_with_that_cause_and_not_train_longer(name):
    rule, training, cause = SICK[name]
    diagnosis = diagnose(training.readings)
    assert diagnosis.verdict is Verdict.STALLED
    assert [(each.name, each.code) for each in diagnosis.causes] == [(cause, rule.code)]
    assert diagnosis.inconclusive_because is None
    assert diagnosis.prescriptions


@pytest.mark.parametrize("name", SICK)
def test_a_network_that_learns_is_not_accused(name):
    rule, training, _ = SICK[name]
    learning = training.with_losses(Training().losses)
    assert not fires(rule, learning)
    assert diagnose(learning.readings).verdict is Verdict.HEALTHY


@pytest.mark.parametrize(
    ("rule", "training", "kept"),
    [
        (UNDERFLOW, underflow(0.8), 0.2),
        (SWALLOWED, swallowed(0.8), 0.2),
        (SKIPPED, skipped(0.8), 0.2),
        (SCHEDULE, schedule(9), 16 / STEPS),  # known no nearer than the samples are
    ],
)
def test_a_rule_flips_where_its_part_of_the_step_is_gone(rule, training, kept):
    if rule is not SCHEDULE:
        training = training.everywhere(Kind.UPDATE, "norm", 9e-3)
    toll, *_ = tolls(training.case)
    assert toll.kept == pytest.approx(kept)
    assert flips_at(rule, training, "half", toll.kept)


@pytest.mark.parametrize(("rule", "made"), [(CLIPPED, clipped), (EPSILON, attenuated)])
def test_usual_clipping_and_epsilon_are_told_at_a_tenth(rule, made):
    assert fires(rule, made(math.nextafter(TENTH, 0.0)))
    assert not fires(rule, made(TENTH))


def test_clipping_names_the_weight_that_spends_the_bound():
    loud = clipped(0.05).reading("head.weight", Kind.WEIGHT_GRAD, "norm", 3.0)
    (finding,) = CLIPPED.check(loud.case)
    (share,) = (each for each in finding.evidence if each.statistic == "norm_share")
    assert share.path == "head.weight"
    assert share.observed == pytest.approx(9.0 / (9.0 + 4 * 0.25))
    assert share.expected == pytest.approx(1 / 5)


def test_a_share_of_steps_that_would_be_too_short_anyway_is_not_blamed():
    crawling = swallowed(0.95, wanted=1e-6)
    assert not fires(SWALLOWED, crawling)


def test_half_swallowed_steps_that_would_not_have_led_anywhere_yet_are_left_open():
    """Less than a tenth must arrive before a short run is accused of it."""
    short = swallowed(0.8, wanted=1e-3)
    assert not fires(SWALLOWED, short)
    diagnosis = diagnose(short.readings)
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert "only 20% of each step arrives at the weights" in diagnosis.inconclusive_because
    assert "Train longer" not in diagnosis.inconclusive_because


def test_what_learns_little_by_half_of_its_steps_is_not_told_to_train_longer():
    half = tuple(2.0 - 0.004 * step for step in range(STEPS))
    poor = swallowed(0.8).with_losses(half).with_reference(0.9)
    diagnosis = diagnose(poor.readings)
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert "only 20% of each step arrives at the weights" in diagnosis.inconclusive_because
    assert "train longer" not in diagnosis.inconclusive_because.lower()


def test_usual_clipping_does_not_stand_in_the_way_of_training_longer():
    short = diagnose(clipped(0.3).readings)
    assert short.verdict is Verdict.INCONCLUSIVE
    assert "Train longer" in short.inconclusive_because


def test_weights_that_turn_over_all_the_same_are_not_held_back():
    turning = swallowed(0.9).everywhere(Kind.UPDATE, "norm", 0.05)
    assert held_back(turning.case) is None
    # but a gradient that is mostly lost may move them anywhere
    lost = underflow(0.9).everywhere(Kind.UPDATE, "norm", 0.05)
    assert held_back(lost.case).taker is Taker.UNDERFLOW


def test_a_scaler_that_skips_its_first_steps_is_as_it_should_be():
    counted = {step: min(step, 12.0) for step in SAMPLED}
    started = SLOW.reading("optimizer", Kind.UPDATE, "skipped_steps", counted)
    assert not fires(SKIPPED, started)


def test_adagrad_under_a_steady_gradient_keeps_what_it_is_designed_to():
    steady = SLOW.everywhere(
        Kind.UPDATE, "adagrad_share", {step: (step + 1) ** -0.5 for step in SAMPLED}
    )
    assert not fires(ADAGRAD, steady)
    limit = BELOW_DESIGN * STEPS**-0.5
    assert fires(ADAGRAD, adagrad(math.nextafter(limit, 0.0) * 0.999))
    assert not fires(ADAGRAD, adagrad(limit * 1.001))


def test_a_warm_up_that_rises_is_no_rate_at_zero():
    rising = SLOW.reading(
        "optimizer", Kind.UPDATE, "learning_rate", {step: 1e-6 * step**3 for step in SAMPLED}
    )
    assert not fires(SCHEDULE, rising)


def test_a_rate_that_never_leaves_zero_is_measured_by_what_the_schedule_started_from():
    never = schedule(0).with_settings(lr=0.0, initial_lr=0.1)
    assert fires(SCHEDULE, never)
    assert not fires(SCHEDULE, schedule(9, late=0.1 * NO_RATE * 1.01))


def test_a_decay_to_zero_after_a_good_run_is_healthy():
    done = schedule(64).with_losses(Training().losses)
    assert judge(done.case).why is Why.LEARNS


def test_poor_progress_is_laid_to_what_is_lost_on_the_way():
    half = tuple(2.0 - 0.004 * step for step in range(STEPS))
    poor = swallowed(0.95).with_losses(half).with_reference(0.9)
    assert poor.case.progress.poor
    assert diagnose(poor.readings).verdict is Verdict.STALLED

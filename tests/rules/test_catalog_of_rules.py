"""What every rule must be, and what no rule may say of a healthy training."""

import dataclasses
import subprocess
import sys

import pytest

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRule
from gradfuga._types import Kind, Role, Severity
from gradfuga.analysis.build import DEAD_LAYER, REACH_LIMIT
from gradfuga.analysis.conditions import DECAYED, NOBODY_FED, STARVED, STARVED_AGAINST
from gradfuga.analysis.judgement import FEWEST_STEPS, WORSE_THAN_CONSTANT
from gradfuga.analysis.progress import INFORMED, NOTHING
from gradfuga.analysis.tolls import HALF
from rules.cases import LEARNING, Training, by_step, weight

RULES = tuple(collect("gradfuga.rules", "RULE", of=AbstractRule).values())

HEALTHY = {
    "as_it_is": Training(),
    "loss_times_1e-8": Training(losses=tuple(1e-8 * each for each in LEARNING), baseline=2e-8),
    "converged": Training().with_losses([2.0, 1.0, *[1e-7] * 98]),
    "relu_at_he_scale": Training(activation="ReLU").gains(linear=2**0.5, activation=0.5**0.5),
    "starts_high_and_trains": Training().gains(linear=10.0),
    "starts_low_and_heals": Training().reading(
        "layer.0", Kind.ACTIVATION_GRAD, "norm", {0: 1e-3, 1: 1e-2, 8: 1.0, 64: 1.0, 99: 1.0}
    ),
    "frozen_backbone_that_learns": Training().holding(
        weight("head.weight"), weight("a", trainable=False), weight("b", trainable=False)
    ),
    "clipped_hard": Training().reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-4),
    "wild_first_step": Training().everywhere(Kind.UPDATE, "norm", {**by_step(0.05, 0.05), 0: 0.9}),
    "no_baseline": Training().without_baseline(),
    "a_few_steps": Training(sampled=(0, 1, 2), losses=(2.0, 1.9, 2.1)).everywhere(
        Kind.UPDATE, "norm", 1e-5
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_silent_on_a_healthy_training(rule, name):
    assert not list(rule.check(HEALTHY[name].case))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_silent_where_nothing_was_seen(rule):
    assert not list(rule.check(Training(depth=1, sampled=(), losses=()).case))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_has_a_cause_if_and_only_if_it_is_one(rule):
    assert bool(rule.cause) == (rule.role is Role.CAUSE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rules_thresholds_are_fields_that_print_and_compare(rule):
    assert dataclasses.is_dataclass(rule)
    assert rule == type(rule)()
    for each in dataclasses.fields(rule):
        assert each.name in repr(rule)


def test_every_cause_has_one_rule_but_those_that_come_about_in_several_ways():
    """A slope that closes is read off the account, a softmax too many off the graph; a format's
    range is left below or above; steps are short by a rate, a schedule, or Adagrad's sum; weights
    start too small or at nothing; a branch is too strong for its skip by itself or once normed;
    labels are not the inputs' own by themselves, or by their shape."""
    causes = [rule.cause for rule in RULES if rule.cause]
    twice = {cause for cause in causes if causes.count(cause) > 1}
    assert twice == {
        "saturated_output",
        "precision_underflow",
        "learning_rate_too_low",
        "small_init",
        "unscaled_residual",
        "data_or_labels",
    }


def test_rules_and_judgement_share_their_thresholds():
    by_code = {rule.code: rule for rule in RULES}
    for rule in RULES:
        fields = {each.name for each in dataclasses.fields(rule)}
        if "limit" in fields:
            assert rule.limit == REACH_LIMIT, rule.code
        if "fed" in fields:
            assert rule.fed == NOBODY_FED, rule.code
        if "fewest_steps" in fields:
            assert rule.fewest_steps == FEWEST_STEPS, rule.code
        if "half" in fields:
            assert rule.half == HALF, rule.code
        if "worse" in fields:
            assert rule.worse == WORSE_THAN_CONSTANT, rule.code
    for code in ("ACT002", "ACT003", "ACT004"):
        assert by_code[code].dead_layer == DEAD_LAYER
    for code in ("GRD007", "FLW003"):
        assert by_code[code].nothing == NOTHING
    assert (by_code["GRD005"].starved, by_code["GRD005"].against) == (STARVED, STARVED_AGAINST)
    assert by_code["GRD007"].informed == INFORMED
    assert by_code["OPT003"].shrunk == DECAYED


def test_symptoms_are_fatal_only_where_nothing_is_learned():
    low = Training().gains(linear=0.1)
    half = Training(losses=tuple(2.0 - 0.004 * step for step in range(100))).gains(linear=0.1)
    for rule in RULES:
        for training in (low, half, low.without_baseline()):
            for finding in rule.check(training.case):
                if finding.role is Role.SYMPTOM:
                    assert finding.severity is not Severity.FATAL, rule.code


def test_the_catalogue_needs_no_numpy():
    code = (
        "import sys; from gradfuga._catalog import collect;"
        "from gradfuga._contracts import AbstractRule, AbstractRemedy;"
        "collect('gradfuga.rules', 'RULE', of=AbstractRule);"
        "collect('gradfuga.remedies', 'REMEDY', of=AbstractRemedy);"
        "print({'numpy', 'torch', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""What is said of the data: proven where it is known, asked where it is only left over."""

from dataclasses import replace

import pytest

from analysis.changes import at, low
from gradfuga._diagnose import diagnose
from gradfuga._types import Kind, Role, Severity, Verdict
from gradfuga.analysis.judgement import Why, judge
from rules.cases import BASELINE, STANDING, Training

SAMPLED = tuple(range(0, 300, 10))
LONG = replace(
    Training().with_losses(STANDING * 3).with_reference(0.0),
    sampled=SAMPLED,
)


def test_a_long_run_without_a_gain_asks_about_the_data_and_accuses_nobody():
    gains = {step: BASELINE * 1e-5 * (-1) ** (step // 10) for step in SAMPLED}
    diagnosis = diagnose(LONG.reading("loss", Kind.LOSS, "gain", gains).readings)
    assert (diagnosis.verdict, diagnosis.causes) == (Verdict.INCONCLUSIVE, ())
    assert "the labels may not belong to the inputs" in diagnosis.inconclusive_because
    (note,) = [each for each in diagnosis.findings if each.code == "FLW003"]
    assert (note.role, note.severity, note.cause) == (Role.NOTE, Severity.MILD, "")


@pytest.mark.parametrize(
    ("reference", "why"), [(0.0, Why.HIDDEN_BY_NOISE), (0.3, Why.NEVER_LEARNS)]
)
def test_a_mildly_low_reach_accuses_only_where_there_is_something_to_learn(reference, why):
    case = LONG.with_reference(reference).case
    assert judge(low(case, -2.0)).why is why
    assert judge(low(case, -2.6)).why is Why.NEVER_LEARNS  # beyond what healthy runs show


CONSTANT = LONG.reading("input", Kind.ACTIVATION, "varying", {0: 0.0, 1: 0.0, 2: 0.0})


def test_inputs_that_are_the_same_for_every_example_are_the_cause():
    diagnosis = diagnose(CONSTANT.readings)
    assert (diagnosis.verdict, diagnosis.severity) == (Verdict.STALLED, Severity.FATAL)
    assert [cause.name for cause in diagnosis.causes] == ["data_or_labels"]
    assert "the same for every example" in diagnosis.summary


@pytest.mark.parametrize(
    "seen", [{0: 0.0, 1: 0.0}, {0: 0.0, 1: 0.0, 2: 1.0}, {0: 3.0, 1: 0.0, 2: 0.0, 4: 0.0}]
)
def test_one_batch_that_differs_or_too_few_looks_clear_the_inputs(seen):
    made = LONG.reading("input", Kind.ACTIVATION, "varying", seen)
    assert judge(made.case).why is not Why.CONSTANT_DATA


def test_a_network_that_learns_is_not_asked_about_its_inputs():
    learner = Training().reading("input", Kind.ACTIVATION, "varying", {0: 0.0, 1: 0.0, 2: 0.0})
    assert judge(learner.case).verdict is Verdict.HEALTHY
    assert judge(at(CONSTANT.case, steps=19)).why is not Why.CONSTANT_DATA

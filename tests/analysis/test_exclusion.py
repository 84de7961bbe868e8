"""The data blamed by exclusion: a long run that is known to have gained next to nothing."""

import math
from dataclasses import replace

import pytest

from analysis.changes import at
from gradfuga._diagnose import diagnose
from gradfuga._types import Kind, Severity, Verdict
from gradfuga.analysis.judgement import Why, judge
from rules.cases import BASELINE, STANDING, Training

SAMPLED = tuple(range(0, 300, 10))
LONG = replace(
    Training().with_losses(STANDING * 3).with_reference(0.0),
    sampled=SAMPLED,
)


def bound(*, none=True, steps=300, turned=9.0):
    """Return the case of `LONG` whose progress is bound tightly, by pairs."""
    case = at(LONG.case, turned=turned, steps=steps)
    return replace(case, progress=replace(case.progress, none=none))


def test_a_long_run_without_a_gain_is_stalled_and_never_fatal():
    judgement = judge(bound())
    assert judgement.why is Why.NOTHING_THERE
    assert (judgement.verdict, judgement.severity) == (Verdict.STALLED, Severity.SERIOUS)


def test_a_bound_that_is_not_tight_accuses_nobody():
    judgement = judge(bound(none=False))
    assert (judgement.verdict, judgement.why) == (Verdict.INCONCLUSIVE, Why.NOTHING_FOUND)


@pytest.mark.parametrize(("steps", "why"), [(199, Why.NOTHING_FOUND), (200, Why.NOTHING_THERE)])
def test_200_steps_are_a_long_run(steps, why):
    assert judge(bound(steps=steps)).why is why


def test_weights_must_have_moved_as_far_as_those_of_networks_that_leave_chance():
    assert judge(bound(turned=0.6)).why is Why.NOTHING_THERE
    assert judge(bound(turned=math.nextafter(0.6, 0.0))).why is Why.NOTHING_FOUND


def test_the_data_is_the_cause_and_the_sentence_says_the_bound():
    gains = {step: BASELINE * 1e-5 * (-1) ** (step // 10) for step in SAMPLED}
    diagnosis = diagnose(LONG.reading("loss", Kind.LOSS, "gain", gains).readings)
    assert diagnosis.verdict is Verdict.STALLED
    assert [cause.name for cause in diagnosis.causes] == ["data_or_labels"]
    assert "u is at most 0.000" in diagnosis.summary
    assert diagnosis.inconclusive_because is None

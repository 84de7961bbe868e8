"""From readings to a diagnosis: shares that add up, notes, skipped rules, several trainings."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradfuga import _diagnose
from gradfuga._contracts import AbstractRule
from gradfuga._diagnose import diagnose
from gradfuga._types import Axis, DepthProfile, Finding, Kind, Role, Severity, Verdict
from gradfuga.analysis.account import UNEXPLAINED, Account, Claim
from gradfuga.analysis.judgement import Judgement, Why
from gradfuga.readings import Readings
from gradfuga.report.document import document, schema
from gradfuga.rules.act001_contracting_activation import RULE as CONTRACTING
from gradfuga.rules.ini001_small_initialization import RULE as SMALL
from rules.cases import SAMPLED, STANDING, Training, by_step

LEARNER, IDLE = Training(), Training().that_learns_nothing()
LOW, HIGH = IDLE.gains(linear=0.1), IDLE.gains(linear=10.0)
BROKEN = IDLE.with_losses([*STANDING[:50], *[math.nan] * 50])
GROWN = IDLE.with_losses([*STANDING[:47], 1e3, 1e9, 1e27, *[math.nan] * 50])
SLOW = IDLE.everywhere(Kind.UPDATE, "norm", 1e-3)
VANISHING = Judgement(Verdict.VANISHING, Severity.FATAL, Axis.DEPTH, Why.NEVER_LEARNS)
VALIDATOR = jsonschema.Draft202012Validator(schema())
NAMES = ("small_init", "contracting_activation", "dead_relu", "plain_depth", "embedding_scale")


@dataclass(frozen=True, slots=True)
class Says(AbstractRule):
    """A rule of a user's own, which says what it was given."""

    role: Role = Role.SYMPTOM  # type: ignore[misc]
    severity: Severity = Severity.FATAL
    code: str = "USR001"  # type: ignore[misc]
    cause: str = ""  # type: ignore[misc]
    needs: frozenset[str] = frozenset()  # type: ignore[misc]
    log_gain: float = 0.0
    name: ClassVar[str] = "mine"

    def check(self, case) -> Iterable[Finding]:
        yield Finding(
            code=self.code,
            name=self.name,
            role=self.role,
            severity=self.severity,
            message=f"after {case.total_steps} steps",
            paths=("layer.0",),
            log_gain=self.log_gain,
            cause=self.cause,
        )


@dataclass(frozen=True, slots=True)
class Fails(AbstractRule):
    """A rule with a fault, before or after its first finding."""

    code: ClassVar[str] = "USR002"
    name: ClassVar[str] = "faulty"
    role: ClassVar[Role] = Role.SYMPTOM
    first: tuple[Finding, ...] = ()

    def check(self, case) -> Iterable[Finding]:
        yield from self.first
        raise ZeroDivisionError("no <b>layers</b>")


def blames(cause, code="USR009"):
    return Says(Role.CAUSE, code=code, cause=cause)


def adds_up(diagnosis):
    shares = [cause.share for cause in diagnosis.causes]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert sum(shares) + diagnosis.unexplained == pytest.approx(1.0, abs=1e-12)
    return True


def valid(diagnosis):
    made = json.loads(json.dumps(document(diagnosis), allow_nan=False))
    VALIDATOR.validate(made)
    return made


TRAININGS = {
    "healthy": (LEARNER, "healthy"),
    "vanishing": (LOW, "vanishing"),
    "exploding": (HIGH, "exploding"),
    "not finite after growth": (GROWN, "exploding"),
    "not finite at once": (BROKEN, "stalled"),
    "not finite by path": (BROKEN.gains(linear=10.0), "exploding"),
    "dead": (
        IDLE.reading("act.1", Kind.ACTIVATION, "dead_share", 1.0).reading(
            "layer.1", Kind.ACTIVATION_GRAD, "norm", 0.0
        ),
        "dead_units",
    ),
    "stalled": (IDLE.with_reference(0.9), "stalled"),
    "open": (IDLE, "inconclusive"),
    "slow": (SLOW, "inconclusive"),
    "blind": (IDLE.without_baseline(), "inconclusive"),
    "empty": (Readings(), "inconclusive"),
}


def readings_of(made):
    return made.readings if isinstance(made, Training) else made


@pytest.mark.parametrize("name", TRAININGS)
def test_every_verdict_is_a_valid_document_whose_shares_add_up(name):
    made, verdict = TRAININGS[name]
    diagnosis = diagnose(readings_of(made))
    assert diagnosis.verdict.value == verdict
    assert adds_up(diagnosis)
    said = valid(diagnosis)
    assert said["verdict"] == verdict
    assert said["summary"].endswith(".")
    assert (said["inconclusive_because"] is not None) == (verdict == "inconclusive")
    assert {each.code for each in diagnosis.causes} <= {each.code for each in diagnosis.findings}


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from([UNEXPLAINED, *NAMES]), st.floats(-20.0, 20.0)), max_size=12
    ),
    known=st.sets(st.sampled_from(NAMES)),
)
def test_shares_and_the_unexplained_are_one_whatever_the_account_says(drawn, known):
    claims = tuple(Claim(cause, 0, "layer.0", decades) for cause, decades in drawn)
    total = sum(decades for _, decades in drawn)
    case = replace(LOW_CASE, blamed=Account(0, total, claims))
    findings = [finding for name in sorted(known) for finding in blames(name).check(case)]
    causes, unexplained = _diagnose._causes(case, VANISHING, findings)
    assert sum(cause.share for cause in causes) + unexplained == pytest.approx(1.0, abs=1e-12)
    assert -1e-12 <= unexplained <= 1.0
    # an oracle of its own: what pulls with the total is shared, the unexplained by its size
    pulls = {
        name: abs(sum(d for cause, d in drawn if cause == name and d * total > 0.0))
        for name in NAMES
    }
    whole = sum(pulls.values()) + abs(sum(d for cause, d in drawn if cause == UNEXPLAINED))
    expected = {name: pull / whole for name, pull in pulls.items() if whole and name in known}
    for cause in causes:
        assert cause.share == pytest.approx(expected[cause.name], rel=1e-9)
    large = {name for name, share in expected.items() if share > 0.005 + 1e-9}
    assert large <= {cause.name for cause in causes}
    assert all(cause.share >= 0.005 for cause in causes)  # printed as 1 % at least
    shares = [cause.share for cause in causes]
    assert shares == sorted(shares, reverse=True)


LOW_CASE = LOW.case


@given(linear=st.floats(0.05, 20.0), activation=st.floats(0.05, 1.0), depth=st.integers(0, 12))
def test_the_shares_of_any_network_add_up(linear, activation, depth):
    chain = replace(IDLE, depth=depth).gains(linear=linear, activation=activation)
    assert adds_up(diagnose(chain.readings, rules=[CONTRACTING, SMALL]))


def test_a_cause_of_less_than_half_a_percent_is_unexplained():
    def named(decades):
        claims = (Claim("small_init", 0, "a", decades), Claim("dead_relu", 1, "b", -0.995))
        case = replace(LOW_CASE, blamed=Account(0, decades - 0.995, claims))
        findings = [each for name in NAMES for each in blames(name).check(case)]
        causes, unexplained = _diagnose._causes(case, VANISHING, findings)
        assert sum(cause.share for cause in causes) + unexplained == pytest.approx(1.0)
        return {cause.name for cause in causes}

    assert named(-0.005) == {"small_init", "dead_relu"}
    assert named(-0.004999) == {"dead_relu"}


def test_what_no_rule_names_is_unexplained():
    chain = IDLE.gains(linear=0.1, activation=0.3).readings
    both = diagnose(chain, rules=[CONTRACTING, SMALL])
    shares = {cause.name: cause.share for cause in both.causes}
    assert set(shares) == {"small_init", "contracting_activation"}
    one = diagnose(chain, rules=[SMALL])
    assert [cause.name for cause in one.causes] == ["small_init"]
    assert one.causes[0].share == shares["small_init"]
    gone = shares["contracting_activation"]
    assert one.unexplained == pytest.approx(both.unexplained + gone)
    assert diagnose(chain, rules=[]).unexplained == 1.0
    assert diagnose(chain, rules=[]).causes == ()


def test_a_cause_that_the_account_does_not_know_is_not_said():
    diagnosis = diagnose(LOW.readings, rules=[SMALL, blames("attention_collapse")])
    assert [cause.name for cause in diagnosis.causes] == ["small_init"]
    assert [each.code for each in diagnosis.findings] == [SMALL.code]


@pytest.mark.parametrize(
    ("training", "found", "named"),
    [
        (IDLE, ("data_or_labels", "learning_rate_too_low"), "learning_rate_too_low"),
        (IDLE, ("saturated_output", "gradients_not_zeroed"), "gradients_not_zeroed"),
        (TRAININGS["dead"][0], ("dead_relu", "learning_rate_too_high"), "learning_rate_too_high"),
        (BROKEN, ("data_or_labels", "target_scale"), "target_scale"),
        (IDLE, ("small_init",), None),  # no factor of a path that is sound
    ],
)
def test_of_causes_that_are_no_factors_the_most_specific_stands_for_all(training, found, named):
    rules = [blames(name, code=f"USR{n:03}") for n, name in enumerate(found)]
    diagnosis = diagnose(training.readings, rules=rules)
    assert adds_up(diagnosis)
    assert [(cause.name, cause.share) for cause in diagnosis.causes] == [(named, 1.0)] * bool(named)
    assert diagnosis.unexplained == (0.0 if named else 1.0)
    assert {each.cause for each in diagnosis.findings} == {named} - {None}


@pytest.mark.parametrize("training", [LEARNER, SLOW], ids=["healthy", "inconclusive"])
def test_without_a_consequence_a_symptom_is_a_note_and_a_cause_is_none(training):
    rules = [
        Says(),
        Says(Role.NOTE, Severity.NONE, code="USR003"),
        blames("small_init"),
    ]
    diagnosis = diagnose(training.readings, rules=rules)
    assert [(each.role, each.severity) for each in diagnosis.findings] == [
        (Role.NOTE, Severity.MILD),
        (Role.NOTE, Severity.NONE),
    ]
    assert diagnosis.causes == ()
    assert diagnosis.unexplained == 1.0
    assert all(each.role is Role.NOTE for each in diagnose(training.readings).findings)


def test_findings_come_symptoms_first_and_the_gravest_of_them_first():
    rules = [
        Says(Role.NOTE, code="USR001"),
        Says(Role.CAUSE, code="USR002", cause="small_init"),
        Says(severity=Severity.MILD, code="USR003"),
        Says(severity=Severity.FATAL, code="USR004", log_gain=-1.0),
        Says(severity=Severity.FATAL, code="USR005", log_gain=-2.0),
    ]
    found = diagnose(LOW.readings, rules=rules).findings
    assert [each.code for each in found] == ["USR005", "USR004", "USR003", "USR002", "USR001"]


def test_rules_of_ones_own_need_no_registration_and_run_alone():
    diagnosis = diagnose(LOW.readings, rules=iter([Says()]))
    assert [each.message for each in diagnosis.findings] == ["after 100 steps"]
    assert diagnosis.skipped == ()
    assert valid(diagnosis)["findings"][0]["code"] == "USR001"


def test_a_rule_that_fails_is_off_and_the_others_go_on():
    diagnosis = diagnose(LOW.readings, rules=[Fails(), Says(), SMALL])
    (skipped,) = diagnosis.skipped
    assert skipped.code == "USR002"
    assert "ZeroDivisionError: no <b>layers</b>" in skipped.why
    assert {each.code for each in diagnosis.findings} == {"USR001", SMALL.code}
    assert valid(diagnosis)["skipped"] == [{"code": "USR002", "why": skipped.why}]


def test_a_rule_without_its_statistics_is_skipped_and_says_which():
    wants = Says(needs=frozenset({"norm", "zeal", "colour"}))
    diagnosis = diagnose(LOW.readings, rules=[wants, SMALL])
    (skipped,) = diagnosis.skipped
    assert skipped.code == "USR001"
    assert skipped.why == "not recorded: colour, zeal"  # in order, without what was
    assert [each.code for each in diagnosis.findings] == [SMALL.code]
    assert diagnose(LOW.readings, rules=[Says(needs=frozenset({"norm"}))]).skipped == ()


def test_of_several_trainings_the_worst_comes_first():
    short = Training(losses=Training().losses[:50], sampled=SAMPLED[:7])
    mild = LOW.with_losses(np.geomspace(2.0, 1.6, 100)).with_reference(0.9)  # learns, but little
    several = [short, LEARNER, SLOW, LOW, mild]
    diagnosis = diagnose([each.readings for each in several], rules=[])
    ordered = [diagnosis, *diagnosis.others]
    assert [(each.verdict.value, each.severity.value, each.run.steps) for each in ordered] == [
        ("vanishing", "fatal", 100),
        ("vanishing", "serious", 100),
        ("inconclusive", "none", 100),
        ("healthy", "none", 100),
        ("healthy", "none", 50),
    ]
    assert all(each.others == () for each in diagnosis.others)
    models = valid(diagnosis)["run"]["models"]
    assert [each["verdict"] for each in models] == [each.verdict.value for each in ordered]


def test_rules_given_as_an_iterator_check_every_training():
    diagnosis = diagnose([LOW.readings, HIGH.readings], rules=iter([Says()]))
    assert [len(each.findings) for each in (diagnosis, *diagnosis.others)] == [1, 1]


@pytest.mark.parametrize("nothing", [Readings(), [], (Readings(),)], ids=["one", "none", "a tuple"])
def test_readings_without_a_row_are_inconclusive_and_say_what_to_do(nothing):
    diagnosis = diagnose(nothing)
    assert diagnosis.verdict is Verdict.INCONCLUSIVE
    assert "loss.backward()" in diagnosis.inconclusive_because
    assert (diagnosis.causes, diagnosis.unexplained, diagnosis.findings) == ((), 1.0, ())
    assert diagnosis.depth == DepthProfile()
    assert (diagnosis.run.loss_first, diagnosis.run.loss_last) == (None, None)
    valid(diagnosis)


def test_the_depth_profile_is_that_of_the_last_samples_with_their_spread():
    # the last four samples from step 75 on are those at 80, 90 and 99
    late = {80: 1e-2, 90: 1e-3, 99: 1e-4}
    grad = ("layer.0", Kind.ACTIVATION_GRAD, "norm")
    depth = diagnose(IDLE.reading(*grad, {**by_step(1.0, 1.0), **late}).readings, rules=[]).depth
    assert depth.path == ("head", "layer.3", "layer.2", "layer.1", "layer.0")
    assert depth.reach == pytest.approx((0.0, 0.0, 0.0, 0.0, -3.0))
    assert depth.spread == pytest.approx((0.0, 0.0, 0.0, 0.0, float(np.std([2.0, 3.0, 4.0]))))


@pytest.mark.parametrize("after", [math.nan, math.inf])
def test_the_depth_profile_of_an_overflow_is_that_of_the_last_sample_read(after):
    made = HIGH.with_losses([*STANDING[:40], *[math.nan] * 60])
    for op in made.graph.ops[1:]:
        size = (
            10.0 ** [0, *made.graph.layers].index(op.index)
            if op.index in made.graph.layers
            else 1.0
        )
        early = {0: size, 1: size, 2: size**2} if op.path != "head" else {0: 1.0, 1: 1.0, 2: 1.0}
        gone = {step: after for step in SAMPLED if step > 2}
        made = made.reading(op.path, Kind.ACTIVATION_GRAD, "norm", {**early, **gone})
    diagnosis = diagnose(made.readings, rules=[])
    assert diagnosis.verdict is Verdict.EXPLODING
    assert diagnosis.depth.reach == pytest.approx((0.0, 4.0, 6.0, 8.0, 10.0))
    assert set(diagnosis.depth.spread) == {0.0}
    assert diagnosis.run.loss_last is None
    valid(diagnosis)


def test_the_run_is_told_as_it_was_recorded():
    cut = IDLE.readings
    cut = Readings(
        cut.rows(),
        graph=cut.graph,
        record=replace(cut.record, script="train.py", model="Net", overhead=0.5, interrupted=True),
    )
    diagnosis = diagnose(cut, rules=[])
    assert diagnosis.model == "Net"
    run = diagnosis.run
    assert (run.script, run.steps, run.sampled_steps) == ("train.py", 100, len(SAMPLED))
    assert (run.overhead, run.interrupted, run.optimizer) == (0.5, True, "SGD")
    assert run.loss_first == STANDING[0]
    assert run.loss_last == pytest.approx(np.mean(STANDING[-20:]))


@pytest.mark.parametrize(("steps", "first"), [(49, Verdict.HEALTHY), (50, Verdict.INCONCLUSIVE)])
def test_a_short_probe_without_a_verdict_does_not_go_before_a_healthy_training(steps, first):
    healthy, probe = (
        Training().readings,
        Training().without_baseline().with_losses(STANDING[:steps]),
    )
    assert diagnose([probe.readings, healthy]).verdict is first

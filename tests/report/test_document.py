"""The document is strict JSON of the published schema, whatever the diagnosis holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradfuga._edits import Advise
from gradfuga._types import (
    Axis,
    Cause,
    DepthProfile,
    Diagnosis,
    Evidence,
    Finding,
    Kind,
    Prescription,
    Role,
    RunSummary,
    Safety,
    Severity,
    Skipped,
    SourceLine,
    Verdict,
)
from gradfuga.report._words import cause_word
from gradfuga.report.document import document, dumps, schema

VALIDATOR = jsonschema.Draft202012Validator(schema())
CAUSES = schema()["$defs"]["cause_name"]["enum"]

anything = st.floats(allow_nan=True, allow_infinity=True)
texts = st.text(max_size=12)
paths = st.lists(texts, max_size=3).map(tuple)
codes = st.from_regex(r"[A-Z]{3}[0-9]{3}", fullmatch=True)
counts = st.integers(0, 10**9)
shares = st.floats(0.0, 1.0)
causes = st.builds(Cause, st.sampled_from(CAUSES), codes, shares, paths)
lines = st.builds(SourceLine, texts, counts, texts)
evidence = st.builds(
    Evidence, texts, st.sampled_from(Kind), texts, counts, anything, anything, texts
)
findings = st.builds(
    Finding,
    codes,
    texts,
    st.sampled_from(Role),
    st.sampled_from(Severity),
    texts,
    st.none() | st.sampled_from(Axis),
    paths,
    st.lists(lines, max_size=2).map(tuple),
    st.lists(evidence, max_size=2).map(tuple),
    anything,
)
prescriptions = st.builds(
    Prescription,
    st.from_regex(r"RX[0-9]{3}", fullmatch=True),
    texts,
    st.lists(st.sampled_from(CAUSES), max_size=2).map(tuple),
    st.sampled_from(Safety),
    st.lists(st.builds(Advise, texts, paths), max_size=2).map(tuple),
)
profiles = st.lists(st.tuples(texts, anything, anything), max_size=4).map(
    lambda rows: DepthProfile(*(tuple(column) for column in zip(*rows, strict=True)))
)
runs = st.builds(
    RunSummary,
    texts,
    counts,
    counts,
    anything,
    anything,
    st.none() | anything,
    st.none() | anything,
    texts,
    st.booleans(),
)
diagnoses = st.builds(
    Diagnosis,
    st.sampled_from(Verdict),
    st.sampled_from(Severity),
    st.none() | st.sampled_from(Axis),
    st.text(min_size=1, max_size=30),
    st.none() | texts,
    st.lists(findings, max_size=2).map(tuple),
    st.lists(causes, max_size=2).map(tuple),
    shares,
    st.lists(st.builds(Skipped, codes, texts), max_size=2).map(tuple),
    st.lists(prescriptions, max_size=2).map(tuple),
    profiles,
    runs,
    texts,
)


def test_the_schema_is_itself_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@settings(max_examples=60, deadline=None)
@given(diagnoses, st.lists(diagnoses, max_size=2))
def test_every_diagnosis_gives_a_document_of_the_schema(diagnosis, others):
    diagnosis = replace(diagnosis, others=tuple(others))
    text = dumps(diagnosis)
    read = json.loads(text, parse_constant=lambda constant: pytest.fail(f"found {constant}"))
    VALIDATOR.validate(read)
    assert read == document(diagnosis)


def test_the_document_has_exactly_the_keys_of_the_contract(make_sick):
    said = document(make_sick())
    assert list(said) == [
        "schema", "verdict", "severity", "axis", "summary", "inconclusive_because", "findings",
        "causes", "unexplained", "skipped", "prescriptions", "depth", "time", "trial", "run",
    ]  # fmt: skip
    assert list(said["findings"][0]) == [
        "code", "name", "role", "severity", "axis", "paths", "source", "message", "evidence",
        "log_gain",
    ]  # fmt: skip
    assert said["schema"] == "gradfuga.diagnosis/1"
    assert (said["verdict"], said["severity"], said["axis"]) == ("vanishing", "fatal", "depth")
    assert said["trial"] is None
    assert said["time"] == []


def test_numbers_that_are_not_finite_are_null(make_sick):
    sick = make_sick()
    depth = replace(sick.depth, reach=(math.nan, -math.inf, -1.5, *sick.depth.reach[3:]))
    run = replace(sick.run, overhead=math.inf, loss_last=math.nan)
    said = document(replace(sick, depth=depth, run=run))
    assert said["depth"]["reach"][:3] == [None, None, -1.5]
    assert said["run"]["overhead"] is None
    assert said["run"]["loss_last"] is None


def test_a_share_that_rounding_pushed_below_zero_is_zero(make_sick):
    said = document(make_sick(unexplained=-2.2e-16))
    assert said["unexplained"] == 0.0
    VALIDATOR.validate(said)


def test_a_file_name_that_is_no_text_can_be_written(make_sick):
    sick = make_sick()
    sick = replace(sick, run=replace(sick.run, script="caf\udce9.py"), summary="Não aprende.")
    text = dumps(sick)
    assert "Não" in text
    assert json.loads(text.encode("utf-8"))["run"]["script"] == "caf\udce9.py"


def test_the_run_lists_every_training_this_one_first(make_sick, make_healthy):
    said = document(make_sick(others=(make_healthy(), make_healthy(model="Critic"))))
    models = said["run"]["models"]
    assert [each["model"] for each in models] == ["DeepNet", "Sequential", "Critic"]
    assert [each["verdict"] for each in models] == ["vanishing", "healthy", "healthy"]
    assert models[0]["loss_first"] == 2.3026


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said.update(verdict="ill"),
        lambda said: said.update(extra=1),
        lambda said: said.pop("unexplained"),
        lambda said: said["causes"][0].update(name="bad_luck"),
        lambda said: said["causes"][0].update(share=1.5),
        lambda said: said["findings"][0].update(role="hint"),
        lambda said: said["findings"][0].update(code="x"),
        lambda said: said["findings"][0]["evidence"][0].update(kind="vibe"),
        lambda said: said["run"].update(steps=-1),
        lambda said: said["run"]["models"].clear(),
        lambda said: said["prescriptions"][0].update(safety="maybe"),
    ],
)
def test_a_spoiled_document_is_refused(make_sick, spoil):
    said = document(make_sick())
    VALIDATOR.validate(said)
    spoil(said)
    assert not VALIDATOR.is_valid(said)


def test_every_cause_of_the_schema_has_words_of_its_own():
    said = [cause_word(name) for name in CAUSES]
    assert len(set(said)) == len(CAUSES) == 28
    assert not [word for word in said if "_" in word]

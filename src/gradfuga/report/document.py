"""Say a diagnosis as one JSON document of schema ``gradfuga.diagnosis/1``."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib.resources import files

from .._sentences import sentence
from .._types import (
    Cause,
    Diagnosis,
    Edit,
    Evidence,
    Finding,
    Prescription,
    RunSummary,
    SourceLine,
    TimeProfile,
)
from ..experiment import Trial
from ._trial_document import trial_document

SCHEMA = "gradfuga.diagnosis/1"

Document = dict[str, object]


def document(diagnosis: Diagnosis, trial: Trial | None = None) -> Document:
    """Return the document of `diagnosis`: plain JSON values, no NaN and no infinity.

    A number that is not finite is null. The script's other trainings (`diagnosis.others`) are
    listed under ``run.models``, this one first. `trial` is what was tried on the script.
    """
    return {
        "schema": SCHEMA,
        "verdict": diagnosis.verdict.value,
        "severity": diagnosis.severity.value,
        "axis": _axis(diagnosis),
        "summary": diagnosis.summary,
        "inconclusive_because": diagnosis.inconclusive_because,
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "unexplained": _share(diagnosis.unexplained),
        "skipped": [{"code": each.code, "why": each.why} for each in diagnosis.skipped],
        "prescriptions": [_prescription(each) for each in diagnosis.prescriptions],
        "depth": {
            "path": list(diagnosis.depth.path),
            "reach": [_finite(value) for value in diagnosis.depth.reach],
            "spread": [_finite(value) for value in diagnosis.depth.spread],
        },
        "time": [_time(each) for each in diagnosis.time],
        "trial": None if trial is None else trial_document(trial),
        "run": {
            **_run(diagnosis.run),
            "models": [_model(each) for each in (diagnosis, *diagnosis.others)],
        },
    }


def dumps(diagnosis: Diagnosis, trial: Trial | None = None) -> str:
    """Return the document of `diagnosis` as strict JSON, indented, with a final newline."""
    said = document(diagnosis, trial)
    text = json.dumps(said, allow_nan=False, ensure_ascii=False, indent=2) + "\n"
    # a file name that is no text holds lone surrogates; escaped, they are JSON and can be written
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def schema() -> Document:
    """Return the published JSON Schema (draft 2020-12) that every document fulfils."""
    text = files(__package__).joinpath("diagnosis-1.schema.json").read_text("utf-8")
    loaded: Document = json.loads(text)
    return loaded


def _time(profile: TimeProfile) -> Document:
    return {
        "path": profile.path,
        "direction": profile.direction,
        "lag": list(profile.lag),
        "norm": [_finite(value) for value in profile.norm],
        "rate": _finite(profile.rate),
        "horizon": _finite(profile.horizon),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _share(value: float) -> float | None:
    """A share of 0 to 1; what rounding put a hair outside is put back."""
    return None if not math.isfinite(value) else min(max(float(value), 0.0), 1.0)


def _axis(said: Diagnosis | Finding) -> str | None:
    return None if said.axis is None else said.axis.value


def _finding(finding: Finding) -> Document:
    return {
        "code": finding.code,
        "name": finding.name,
        "role": finding.role.value,
        "severity": finding.severity.value,
        "axis": _axis(finding),
        "paths": list(finding.paths),
        "source": [_source(line) for line in finding.source],
        "message": finding.message,
        "evidence": [_evidence(each) for each in finding.evidence],
        "log_gain": _finite(finding.log_gain),
    }


def _source(line: SourceLine) -> Document:
    return {"file": line.file, "line": line.line, "text": line.text}


def _evidence(evidence: Evidence) -> Document:
    return {
        "path": evidence.path,
        "kind": evidence.kind.value,
        "statistic": evidence.statistic,
        "step": evidence.step,
        "observed": _finite(evidence.observed),
        "expected": _finite(evidence.expected),
        "unit": evidence.unit,
    }


def _cause(cause: Cause) -> Document:
    return {
        "name": cause.name,
        "code": cause.code,
        "share": _share(cause.share),
        "paths": list(cause.paths),
    }


def _prescription(prescription: Prescription) -> Document:
    return {
        "remedy": prescription.remedy,
        "title": prescription.title,
        "treats": list(prescription.treats),
        "safety": prescription.safety.value,
        "edits": [_edit(edit) for edit in prescription.edits],
    }


def _edit(edit: Edit) -> Document:
    """One edit: its kind, the sentence, where, and the record's own fields."""
    fields = {each.name: getattr(edit, each.name) for each in dataclasses.fields(edit)}
    fields.pop("paths")
    return {
        "kind": edit.kind,
        "action": sentence(edit),
        "paths": list(edit.paths),
        "fields": {name: _plain(value) for name, value in fields.items()},
    }


def _plain(value: object) -> object:
    if isinstance(value, float):
        return _finite(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _run(run: RunSummary) -> Document:
    return {
        "script": run.script,
        "steps": run.steps,
        "sampled_steps": run.sampled_steps,
        "overhead": _finite(run.overhead),
        "startup_seconds": _finite(run.startup_seconds),
        "loss_first": _finite(run.loss_first),
        "loss_last": _finite(run.loss_last),
        "optimizer": run.optimizer,
        "interrupted": run.interrupted,
        "warnings": list(run.warnings),
    }


def _model(diagnosis: Diagnosis) -> Document:
    return {
        "model": diagnosis.model,
        "optimizer": diagnosis.run.optimizer,
        "verdict": diagnosis.verdict.value,
        "severity": diagnosis.severity.value,
        "axis": _axis(diagnosis),
        "summary": diagnosis.summary,
        "causes": [_cause(cause) for cause in diagnosis.causes],
        "unexplained": _share(diagnosis.unexplained),
        "loss_first": _finite(diagnosis.run.loss_first),
        "loss_last": _finite(diagnosis.run.loss_last),
    }

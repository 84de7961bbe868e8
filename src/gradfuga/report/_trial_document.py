"""Say a trial as the JSON record ``trial`` of the diagnosis document."""

from __future__ import annotations

import math

from ..experiment import Arm, Trial, TrialRun

Document = dict[str, object]


def trial_document(trial: Trial) -> Document:
    """Return the record of `trial`: plain JSON values, null for a number that is not finite."""
    compared = trial.comparison
    return {
        "proven": trial.proven,
        "because": trial.because,
        "budget": trial.budget,
        "slice": {"steps": trial.slice_steps, "whole": trial.whole},
        "loss": "held_out" if trial.held_out else "training",
        "treated": None if trial.treated is None else _arm(trial.treated),
        "untreated": None if trial.untreated is None else _arm(trial.untreated),
        "patched": None if trial.patched is None else _arm(trial.patched),
        "difference": None if compared is None else _finite(compared.difference),
        "interval": None if compared is None else [_finite(each) for each in compared.interval],
        "p_value": None if compared is None else _finite(compared.p_value),
        "pairs": 0 if compared is None else compared.pairs,
        "tried": [_arm(arm) for arm in trial.tried],
        "controls": [_arm(arm) for arm in trial.controls],
        "diff": trial.diff or None,
        "diff_proven": trial.diff_proven,
        "diff_because": trial.diff_because or None,
        "diff_base": trial.diff_base or None,
        "diff_files": [file.path for file in trial.sources],
        "unplaced": [{"action": action, "why": why} for action, why in trial.unplaced],
        "steps": trial.steps,
        "seconds": _finite(trial.seconds),
        "notes": list(trial.notes),
        "interrupted": trial.interrupted,
    }


def _arm(arm: Arm) -> Document:
    known = all(run.known for run in arm.runs)
    first = arm.runs[0].depth if arm.runs else None
    return {
        "kind": arm.treatment.kind.value,
        "title": arm.treatment.title,
        "remedies": list(arm.treatment.remedies),
        "safety": arm.treatment.safety.value,
        "score": _finite(arm.score),
        "scale": "progress" if known else "negative_log_loss",
        "failed": arm.failed or None,
        "reach": {
            "path": [] if first is None else list(first.path),
            "reach": [] if first is None else [_finite(value) for value in first.reach],
        },
        "runs": [_run(run) for run in arm.runs],
    }


def _run(run: TrialRun) -> Document:
    return {
        "seed": run.seed,
        "steps": run.steps,
        "score": _finite(run.score),
        "loss": _finite(run.loss),
        "held_out": None if run.held_out is None else _finite(run.held_out),
        "curve": {
            "step": list(run.curve_steps),
            "loss": [_finite(value) for value in run.curve],
        },
        "startup_seconds": _finite(run.startup_seconds),
        "step_seconds": _finite(run.step_seconds),
        "parameters": run.parameters,
        "peak_bytes": run.peak_bytes,
        "ended": run.ended,
        "failed": run.failed or None,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

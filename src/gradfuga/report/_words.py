"""Say names and numbers of a diagnosis in words that people understand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from .._messages import _
from .._types import (
    Axis,
    Diagnosis,
    Evidence,
    Role,
    RunSummary,
    Safety,
    Severity,
    SourceLine,
    Verdict,
)
from ..analysis.words import SAME_SIZE
from ..analysis.words import cause_word as cause_word
from ..analysis.words import factor_words as factor_words
from ._statistics import statistic_word, unit_word

LONGEST_WHOLE = 1e6  # chosen: whole numbers below it are written out
LIMIT = 1.3  # decades: the T of the decision rule, a factor of 20


def verdict_word(verdict: Verdict) -> str:
    """Return the verdict as a headline word."""
    words = {
        Verdict.HEALTHY: _("healthy"),
        Verdict.VANISHING: _("vanishing gradient"),
        Verdict.EXPLODING: _("exploding gradient"),
        Verdict.DEAD_UNITS: _("dead units"),
        Verdict.STALLED: _("stalled"),
        Verdict.INCONCLUSIVE: _("inconclusive"),
    }
    return words[verdict]


def severity_word(severity: Severity) -> str:
    """Return the severity as a word."""
    words = {
        Severity.NONE: _("none"),
        Severity.MILD: _("mild"),
        Severity.SERIOUS: _("serious"),
        Severity.FATAL: _("fatal"),
    }
    return words[severity]


def axis_word(axis: Axis) -> str:
    """Return along what the gradient changes."""
    return {Axis.DEPTH: _("over depth"), Axis.TIME: _("over time")}[axis]


def role_word(role: Role) -> str:
    """Return what a finding is for the verdict."""
    words = {Role.SYMPTOM: _("symptom"), Role.CAUSE: _("cause"), Role.NOTE: _("note")}
    return words[role]


def safety_word(safety: Safety) -> str:
    """Return what an edit may change."""
    words = {
        Safety.SAFE: _("safe: outputs stay equal"),
        Safety.UNSAFE: _("changes outputs"),
        Safety.ADVICE: _("advice"),
    }
    return words[safety]


def decades_text(decades: float) -> str:
    """Return decades with sign and one digit, ``?`` where not read."""
    if math.isnan(decades):
        return "?"
    if math.isinf(decades):
        return "-inf" if decades < 0 else "+inf"
    rounded = round(decades, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def number_text(value: float | None) -> str:
    """Return a number in at most four digits, ``-`` where there is none."""
    if value is None:
        return "-"
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == int(value) and abs(value) < LONGEST_WHOLE:
        return str(int(value))
    return f"{value:.4g}" if abs(value) >= 1.0 else f"{value:.3g}"


def evidence_text(evidence: Evidence) -> str:
    """Return one piece of evidence: observed against expected, where and when.

    What is expected is a healthy value or its limit: "against" is true of both.
    """
    unit = f" {unit_word(evidence.unit)}" if evidence.unit else ""
    observed = f"{number_text(evidence.observed)}{unit}"
    what = _("{statistic} at {path}, step {step}").format(
        statistic=statistic_word(evidence.statistic),
        path=layer_name(evidence.path),
        step=evidence.step,
    )
    if math.isnan(evidence.expected):
        return _("{what}: observed {observed}").format(what=what, observed=observed)
    return _("{what}: observed {observed}, against {expected}").format(
        what=what, observed=observed, expected=f"{number_text(evidence.expected)}{unit}"
    )


def layer_name(path: str) -> str:
    """Return a path to show; the root module has none of its own."""
    return path or _("(root)")


def names(paths: Sequence[str], *, most: int = 3) -> str:
    """Return at most `most` of `paths` and how many more there are."""
    shown = ", ".join(layer_name(path) for path in paths[:most])
    more = len(paths) - most
    return _("{paths} and {count} more").format(paths=shown, count=more) if more > 0 else shown


def percents(shares: Iterable[float]) -> list[int]:
    """Round shares to whole percents that add up as the shares do (largest remainder)."""
    exact = [100.0 * share if math.isfinite(share) else 0.0 for share in shares]
    rounded = [math.floor(value) for value in exact]
    missing = round(sum(exact)) - sum(rounded)
    by_rest = sorted(range(len(exact)), key=lambda i: rounded[i] - exact[i])
    for index in by_rest[: max(missing, 0)]:
        rounded[index] += 1
    return rounded


def short_file(file: str) -> str:
    """Return `file` relative to the working directory where it lies inside."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def clean(text: str) -> str:
    """Return `text` on one line without control characters, which could rule a terminal."""
    text = text.replace("\t", "    ")
    return "".join(c if c.isprintable() else "?" for c in text)


def than_output(decades: float) -> str:
    """Return a reach as a factor against the output's gradient."""
    if math.isfinite(decades) and abs(decades) >= SAME_SIZE:
        return _("{factor} than at the output").format(factor=factor_words(decades))
    return factor_words(decades)


def source_lines(diagnosis: Diagnosis) -> list[SourceLine]:
    """Return the distinct source lines of the causes, then those of the symptoms."""
    found: dict[SourceLine, None] = {}
    for role in (Role.CAUSE, Role.SYMPTOM):
        for finding in diagnosis.findings:
            if finding.role is role:
                found.update(dict.fromkeys(finding.source))
    return list(found)


def shared(diagnosis: Diagnosis) -> bool:
    """Whether shares are to be shown: of the causes, or that nothing explains the symptom."""
    accounted = diagnosis.verdict in (Verdict.VANISHING, Verdict.EXPLODING)
    return bool(diagnosis.causes) or accounted


def training_name(diagnosis: Diagnosis) -> str:
    """Return what tells one training of a script from the others: its model and optimizer."""
    model = diagnosis.model or _("a training without a module")
    return f"{model} ({diagnosis.run.optimizer})" if diagnosis.run.optimizer else model


def losses_text(run: RunSummary, *, arrow: str = "->") -> str:
    """Return the first and the last loss."""
    first = _("not finite") if run.loss_first is None else number_text(run.loss_first)
    last = _("not finite") if run.loss_last is None else number_text(run.loss_last)
    return f"{first} {arrow} {last}"


def told_apart(diagnosis: Diagnosis) -> str:
    """Return the training's name with what tells it from others of the same model and optimizer."""
    run = diagnosis.run
    parts = [training_name(diagnosis), _("{steps} steps").format(steps=run.steps)]
    if run.loss_first is not None or run.loss_last is not None:
        parts.append(_("loss {losses}").format(losses=losses_text(run)))
    return ", ".join(parts)


def run_line(diagnosis: Diagnosis) -> str:
    """Return the facts of the run on one line."""
    run = diagnosis.run
    parts = [
        _("{steps} steps, {sampled} sampled").format(steps=run.steps, sampled=run.sampled_steps)
    ]
    if math.isfinite(run.overhead):
        text = _("overhead {percent:.1f} %")
        if run.startup_seconds > 0.0:
            text = _("overhead {percent:.1f} % ({startup:.1f} s of it at the start)")
        parts.append(text.format(percent=100.0 * run.overhead, startup=run.startup_seconds))
    parts.append(training_name(diagnosis))
    if run.loss_first is not None or run.loss_last is not None:
        parts.append(_("loss {losses}").format(losses=losses_text(run)))
    if run.interrupted:
        parts.append(_("interrupted"))
    script = f"{short_file(run.script)}: " if run.script else ""
    return script + ", ".join(part for part in parts if part) + "."


def unseen(run: RunSummary) -> str:
    """Say which parts of the observer failed, so that not all was seen."""
    return _("Not everything was seen; switched off on the way: {parts}.").format(
        parts="; ".join(run.warnings)
    )

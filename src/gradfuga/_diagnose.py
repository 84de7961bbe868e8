"""Diagnose: from readings to a verdict with findings, causes and shares."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ._catalog import collect
from ._contracts import AbstractRule
from ._errors import UsageError
from ._messages import _
from ._prescribe import prescribe
from ._types import (
    Axis,
    Cause,
    DepthProfile,
    Diagnosis,
    Finding,
    Role,
    RunSummary,
    Severity,
    Skipped,
    TimeProfile,
    Verdict,
)
from .analysis.account import UNEXPLAINED
from .analysis.build import build_case, late_samples
from .analysis.case import Case
from .analysis.judgement import Judgement, Why, judge
from .analysis.statements import inconclusive_because, summary
from .analysis.time_causes import forgetting_shares, growing_shares
from .flow import OpRole
from .readings import Readings

_log = logging.getLogger("gradfuga")

_SMALLEST_SHARE = 0.005  # a cause that would be printed as 0 % is none
# Where the main line is worth a bar: an activation belongs to the layer before it.
_SHOWN = frozenset(
    {
        OpRole.LINEAR,
        OpRole.EMBEDDING,
        OpRole.RECURRENT,
        OpRole.ATTENTION,
        OpRole.MERGE,
        OpRole.OPAQUE,
    }
)
# Which causes can be behind a verdict, the likelier first; the account's own come with shares.
_CAUSES_OF = {
    Verdict.DEAD_UNITS: (
        "gradients_not_zeroed",
        "learning_rate_too_high",
        "dead_relu",
        "saturated_output",
        "saturated_activation",
        "small_init",
    ),
    Verdict.STALLED: (
        "gradients_not_zeroed",
        "gradients_wiped",
        "precision_underflow",
        "swallowed_update",
        "weight_decay_too_strong",
        "disconnected",
        "frozen",
        "target_scale",
        "clipped_away",
        "adam_epsilon",
        "learning_rate_too_high",
        "learning_rate_too_low",
        "dead_relu",
        "saturated_output",
        "attention_collapse",
        "data_or_labels",
    ),
}
# What the judgement itself has already found goes before everything else.
_DECIDES = {
    Why.NONFINITE_DATA: ("data_or_labels",),
    Why.CONSTANT_DATA: ("data_or_labels",),
    Why.ALIKE: ("small_init",),
    Why.CROSSED: ("data_or_labels",),
    Why.WRONG_SIGN: ("data_or_labels",),
    Why.PROBABILITIES: ("saturated_output",),
    Why.DECAYED: ("weight_decay_too_strong",),
    Why.NOT_TRAINED: ("disconnected", "frozen"),
    Why.HELD_BACK: (
        "gradients_wiped",
        "precision_underflow",
        "swallowed_update",
        "clipped_away",
        "adam_epsilon",
        "learning_rate_too_low",
    ),
}

# Causes that can be seen as such, whatever comes of them: worth a note before there is a verdict.
_FACTS = frozenset({"disconnected"})


def diagnose(
    readings: Readings | Sequence[Readings],
    *,
    rules: Iterable[AbstractRule] | None = None,
    lag: int | None = None,
) -> Diagnosis:
    """Diagnose one training, or all trainings of a script.

    Args:
        readings: of one training, or several: the worst one's diagnosis is returned, with the
            others in its `others`.
        rules: all of gradfuga's where left out; your own need no registration.
        lag: how many steps back the task reaches, for recurrent networks, where you know it.

    Raises:
        UsageError: `lag` is less than 1.

    Returns:
        The verdict, with findings, causes whose shares and `unexplained` add up to 1, and the
        rules that could not run.

    Example:
        >>> from gradfuga.readings import Readings
        >>> diagnose(Readings()).verdict.value
        'inconclusive'
    """
    if lag is not None and lag < 1:
        raise UsageError(
            _("expected lag as a number of steps from 1"),
            _("got {value}").format(value=lag),
            _("Write lag=80 for a task that needs what was seen 80 steps before."),
        )
    used = (
        tuple(collect("gradfuga.rules", "RULE", of=AbstractRule).values())  # type: ignore[type-abstract]
        if rules is None
        else tuple(rules)
    )
    several = [readings] if isinstance(readings, Readings) else list(readings)
    if not several:
        several = [Readings()]
    longest = max(each.record.steps for each in several)
    found = sorted(
        (_one(each, used, lag) for each in several),
        key=lambda each: _badness(each, longest),
        reverse=True,
    )
    return dataclasses.replace(found[0], others=tuple(found[1:]))


def _badness(diagnosis: Diagnosis, longest: int) -> tuple[int, bool, bool, int]:
    """Rank by severity; an open question goes before health, unless it is that of a probe."""
    steps = diagnosis.run.steps
    asks = diagnosis.verdict is Verdict.INCONCLUSIVE and 2 * steps >= longest
    sick = diagnosis.verdict not in (Verdict.HEALTHY, Verdict.INCONCLUSIVE)
    return diagnosis.severity.rank, sick, asks, steps


def _one(readings: Readings, rules: Sequence[AbstractRule], lag: int | None) -> Diagnosis:
    case = build_case(readings, lag=lag)
    findings, skipped = _check(case, rules)
    judgement = _settled(judge(case), findings)
    sick = judgement.verdict not in (Verdict.HEALTHY, Verdict.INCONCLUSIVE)
    if not sick:
        # without the consequence a symptom is worth a note, and a cause is a cause of nothing
        findings = [
            dataclasses.replace(each, role=Role.NOTE, severity=min(each.severity, Severity.MILD))
            for each in findings
            if each.role is not Role.CAUSE or each.cause in _FACTS
        ]
    causes, unexplained = _causes(case, judgement, findings)
    named = {cause.name for cause in causes}
    findings = [each for each in findings if each.role is not Role.CAUSE or each.cause in named]
    if judgement.verdict is Verdict.STALLED:  # where the flow is not why, its factors say nothing
        blamed = {cause.code for cause in causes}
        findings = [
            each
            for each in findings
            if each.role is not Role.CAUSE or not each.log_gain or each.code in blamed
        ]
    diagnosis = Diagnosis(
        verdict=judgement.verdict,
        severity=judgement.severity,
        axis=judgement.axis,
        summary=summary(case, judgement, causes),
        inconclusive_because=inconclusive_because(case, judgement),
        findings=tuple(sorted(findings, key=_order)),
        causes=causes,
        unexplained=unexplained,
        skipped=tuple(skipped),
        prescriptions=(),
        depth=_depth(case),
        run=_run(case),
        model=readings.record.model,
        time=_time(case),
        lag=lag,
    )
    return dataclasses.replace(diagnosis, prescriptions=tuple(prescribe(diagnosis)))


def _settled(judgement: Judgement, findings: Sequence[Finding]) -> Judgement:
    """Settle by a cause what is open only because nothing is known to be wrong.

    That the data is left over when everything else is excluded is no such cause.
    """
    causes = frozenset(each.cause for each in findings if each.role is Role.CAUSE)
    known = causes.intersection(_CAUSES_OF[Verdict.STALLED]) - {"data_or_labels"}
    if known and judgement.why in (Why.FLOWS_UNSETTLED, Why.NOTHING_FOUND):
        return Judgement(Verdict.STALLED, Severity.SERIOUS, None, Why.FLOWS)
    return judgement


def _order(finding: Finding) -> tuple[int, int, float]:
    return list(Role).index(finding.role), -finding.severity.rank, -abs(finding.log_gain)


def _check(case: Case, rules: Sequence[AbstractRule]) -> tuple[list[Finding], list[Skipped]]:
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    for rule in rules:
        missing = sorted(need for need in rule.needs if not case.readings.has(need))
        if missing:
            why = _("not recorded: {statistics}").format(statistics=", ".join(missing))
            skipped.append(Skipped(rule.code, why))
            continue
        try:
            findings.extend(rule.check(case))
        except Exception as error:  # noqa: BLE001 (a rule that fails is off, the others go on)
            _log.debug("rule %s failed", rule.code, exc_info=error)
            why = _("the rule failed: {error}").format(error=f"{type(error).__name__}: {error}")
            skipped.append(Skipped(rule.code, why))
    return findings, skipped


def _causes(
    case: Case, judgement: Judgement, findings: Sequence[Finding]
) -> tuple[tuple[Cause, ...], float]:
    """Return the causes with their shares, and the share that stays unexplained."""
    by_cause: dict[str, Finding] = {}
    for each in findings:
        if each.role is Role.CAUSE and each.cause:
            by_cause.setdefault(each.cause, each)
    if judgement.verdict in (Verdict.VANISHING, Verdict.EXPLODING) and judgement.axis is not None:
        shares = _shares(case, judgement)
        named = [
            Cause(name, by_cause[name].code, share, by_cause[name].paths)
            for name, share in shares.items()
            if name != UNEXPLAINED and name in by_cause and share >= _SMALLEST_SHARE
        ]
        return tuple(named), 1.0 - sum(cause.share for cause in named)
    if (
        judgement.why is Why.DROPPED
    ):  # no cause of the contract: dead units and small weights follow
        return (), 1.0
    if judgement.verdict is Verdict.EXPLODING:  # non-finite, and not by the path
        order: tuple[str, ...] = ("learning_rate_too_high", "target_scale", "data_or_labels")
    else:
        order = _CAUSES_OF.get(judgement.verdict, ())
    # these are no factors of a product: the one that decided the verdict, or the most specific
    # one that was found, stands for it all
    decided = _DECIDES.get(judgement.why, ())
    first = next((name for name in (*decided, *order) if name in by_cause), None)
    if first is None:
        return (), 1.0
    found = [each for each in findings if each.role is Role.CAUSE and each.cause == first]
    best = min(found, key=lambda each: abs(each.log_gain))  # no factor, where there are both
    return (Cause(first, best.code, 1.0, best.paths),), 0.0


def _shares(case: Case, judgement: Judgement) -> Mapping[str, float]:
    """Return the causes' shares of the symptom, along the axis that it has."""
    if judgement.axis is not Axis.TIME:
        return case.blamed.shares()
    grows = judgement.verdict is Verdict.EXPLODING
    return growing_shares(case) if grows else forgetting_shares(case)


def _time(case: Case) -> tuple[TimeProfile, ...]:
    return tuple(
        TimeProfile(each.path, each.direction, each.lag, each.norm, each.rate, each.horizon)
        for each in case.late_lags
    )


def _depth(case: Case) -> DepthProfile:
    """Return the reach at the layers and merges of the main line over the last samples.

    After an overflow nothing is read any more: then over the last sample that was.
    """
    line = case.line
    shown = [c for c, index in enumerate(line) if case.graph.ops[index].role in _SHOWN]
    late = late_samples(case.steps, case.total_steps)
    read = np.flatnonzero(np.isfinite(case.line_reach).any(axis=1))
    if not shown or not read.size:
        return DepthProfile()
    window = case.line_reach[late]
    if not np.isfinite(window).any():
        window = case.line_reach[read[-1:]]
    paths, reach, spread = [], [], []
    for column in shown:
        values = window[:, column]
        values = values[np.isfinite(values)]
        if values.size:
            paths.append(case.graph.ops[line[column]].path)
            reach.append(float(np.median(values)))
            spread.append(float(values.std()))
    return DepthProfile(tuple(paths), tuple(reach), tuple(spread))


def _run(case: Case) -> RunSummary:
    record, progress = case.record, case.progress
    losses = case.readings.losses[1]
    last = progress.last
    if losses.size and not math.isfinite(float(losses[-1])):
        last = None
    return RunSummary(
        script=record.script,
        steps=record.steps,
        sampled_steps=len(record.sampled),
        overhead=record.overhead,
        startup_seconds=record.startup_seconds,
        loss_first=progress.first,
        loss_last=last,
        optimizer=record.optimizer,
        interrupted=record.interrupted,
        warnings=record.warnings,
    )

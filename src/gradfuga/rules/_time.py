"""The frame of the rules on what a recurrence does to the gradient along time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._types import Axis, Evidence, Finding, Kind, Severity, SourceLine

if TYPE_CHECKING:
    from .._contracts import AbstractRule
    from ..analysis.case import Case
    from ..analysis.lag_profile import LagProfile


def time_finding(
    rule: AbstractRule,
    case: Case,
    profile: LagProfile,
    *,
    message: str,
    evidence: tuple[Evidence, ...],
    severity: Severity = Severity.SERIOUS,
    log_gain: float = 0.0,
) -> Finding:
    """Return what `rule` says of the recurrence that `profile` describes."""
    return rule.finding(
        severity=severity,
        message=message,
        axis=Axis.TIME,
        paths=(profile.path,),
        source=lines_of(case, profile.path),
        evidence=evidence,
        log_gain=log_gain,
    )


def lines_of(case: Case, path: str, *, most: int = 3) -> tuple[SourceLine, ...]:
    """Return the user's lines that run or build the recurrence whose weight is at `path`."""
    found: dict[SourceLine, None] = {}
    for op in case.graph.ops:
        if path in op.parameters:
            found.update(dict.fromkeys(each for each in (op.source, op.built_at) if each))
    return tuple(found)[:most]


def lag_evidence(profile: LagProfile, *, expected: float = 1e-3) -> tuple[Evidence, ...]:
    """Return the gradient at the farthest lag against what it should at least be."""
    if not profile.lag:
        return ()
    return (
        Evidence(
            profile.path,
            Kind.ACTIVATION_GRAD,
            f"lag_norm.{profile.lag[-1]}",
            profile.step,
            profile.norm[-1],
            expected * profile.norm[0],
        ),
    )


def statistic_evidence(
    case: Case, profile: LagProfile, statistic: str, kind: Kind, expected: float
) -> tuple[Evidence, ...]:
    """Return a statistic of the recurrence as evidence; none where it was not recorded."""
    value = profile.at(statistic, kind, case.readings)
    if math.isnan(value):
        return ()
    return (Evidence(profile.path, kind, statistic, profile.step, value, expected),)


def steps_text(steps: float) -> str:
    """Return a number of steps, ``∞`` where it has no end.

    Example:
        >>> steps_text(14.0)
        '14'
    """
    return "∞" if math.isinf(steps) else f"{steps:.0f}"

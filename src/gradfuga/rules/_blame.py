"""Read one cause's part of the account: its decades, its share, where, and since what."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Axis, Evidence, Finding, Kind, Role, Severity, SourceLine
from ._progress import learns_well
from ._samples import value_at

if TYPE_CHECKING:
    from .._contracts import AbstractRule
    from ..analysis.case import Case

MOST_PATHS = 1024
_MOST_EVIDENCE = 3
_MAIN_SHARE = 0.25  # from a quarter of the symptom on, a cause is worth treating by itself


@dataclass(frozen=True, slots=True)
class Blame:
    """What one cause claims of the symptom.

    Attributes:
        decades: its claims together, with the sign of the symptom.
        share: of the symptom, 0 to 1.
        paths: where, the largest claim first.
        each: the claim at every path, in decades.
        step: the sample that the account speaks of.
    """

    decades: float
    share: float
    paths: tuple[str, ...]
    each: dict[str, float]
    step: int


def find_blame(
    case: Case, cause: str, *, limit: float, least_share: float, sign: int = 0
) -> Blame | None:
    """Return what `cause` claims; None where it claims next to nothing, or nothing is ill.

    Args:
        case: the training.
        cause: a cause name of the contract.
        limit: a reach beyond this many decades, in either direction, is a symptom.
        least_share: smaller claims are nothing.
        sign: -1 for a cause that only shrinks the gradient, +1 for one that only grows it.
    """
    if learns_well(case):
        return None  # a start that the training has overcome needs no cause
    account = case.blamed
    share = account.shares().get(cause, 0.0)
    decades = account.decades(cause)
    if abs(account.total) <= limit or share < least_share or decades == 0.0:
        return None
    if decades * sign < 0.0:
        return None
    each: dict[str, float] = {}
    for claim in account.claims:
        if claim.cause == cause and claim.decades * account.total > 0.0:
            each[claim.path] = each.get(claim.path, 0.0) + claim.decades
    return Blame(decades, share, account.paths(cause), each, account.step)


def finding_of(
    rule: AbstractRule,
    case: Case,
    blame: Blame,
    message: str,
    *,
    evidence: tuple[Evidence, ...] = (),
    built: bool = False,
) -> Finding:
    """Return the finding: the evidence given, then the claim itself.

    Args:
        rule: whose finding it is.
        case: the training.
        blame: the rule's part of the account.
        message: what to say.
        evidence: readings that back the claim.
        built: name the lines that built the modules too, because that is where weights begin.
    """
    claim = Evidence(
        blame.paths[0], Kind.ACTIVATION_GRAD, "claim", blame.step, blame.decades, 0.0, "decades"
    )
    source = case.source_of(blame.paths)
    if built:
        source = tuple(dict.fromkeys((*source, *built_lines(case, blame.paths))))
    return Finding(
        code=rule.code,
        name=rule.name,
        role=Role.CAUSE,
        severity=Severity.SERIOUS if blame.share >= _MAIN_SHARE else Severity.MILD,
        axis=Axis.DEPTH,
        message=message,
        paths=blame.paths[:MOST_PATHS],
        source=source,
        evidence=(*evidence, claim),
        log_gain=blame.decades,
        cause=rule.cause,
    )


def without_claim(
    case: Case, blame: Blame, kind: Kind, statistic: str, *, power: int = 1
) -> tuple[Evidence, ...]:
    """Return `statistic` at the largest claims against what it would be without the claim.

    The claim is ``power * log10`` of the statistic's excess, so that taking it off is exact.
    """
    found = []
    for path in blame.paths:
        observed = value_at(case, path, kind, statistic, blame.step)
        if math.isfinite(observed):
            expected = observed / 10.0 ** (power * blame.each[path])
            found.append(Evidence(path, kind, statistic, blame.step, observed, expected))
    return tuple(found[:_MOST_EVIDENCE])


def built_lines(case: Case, paths: tuple[str, ...], *, most: int = 2) -> tuple[SourceLine, ...]:
    """Return the distinct user lines that built the modules at `paths`, at most `most`."""
    by_path = {op.path: op for op in case.graph.ops}
    found: dict[SourceLine, None] = {}
    for path in paths:
        op = by_path.get(path)
        if op is not None and op.built_at is not None:
            found[op.built_at] = None
    return tuple(found)[:most]


def activation_word(case: Case, path: str) -> str:
    """Return what a user calls the op at `path`: its module's class, or the function."""
    op = next((op for op in case.graph.ops if op.path == path), None)
    if op is None:
        return path
    owner_is_leaf = op.module == path and bool(op.module_type)
    return op.module_type if owner_is_leaf else op.name

"""The frame of the rules that blame a cause which the account knows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._contracts import AbstractRule
from .._types import Axis, Evidence, Finding, Kind, Role, Severity, SourceLine
from ..flow import OpRole, cells_of
from ._progress import learns_well
from ._samples import value_at
from ._words import times

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True)
class AbstractBlame(AbstractRule):
    """A rule that blames the cause `cause` for its part of the account.

    `sign` is -1 for a cause that only shrinks the gradient, +1 for one that only grows it; `built`
    names the lines that built the modules too, because that is where weights begin.
    """

    role: ClassVar[Role] = Role.CAUSE
    sign: ClassVar[int] = 0
    built: ClassVar[bool] = False

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    @property
    @abstractmethod
    def message(self) -> str:
        """What to say: of {activation}, {layer}, {count}, {factor} and {share}."""

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings that back the claim: none, where it is counted in layers."""
        return ()

    def where(self, case: Case, blame: Blame) -> tuple[str, ...]:
        """Return the paths to name: those that claim."""
        return blame.paths

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        return self.blamed(case)

    def blamed(self, case: Case) -> tuple[Finding, ...]:
        """Return what the account says; nothing where the cause claims next to nothing."""
        blame = find_blame(
            case, self.cause, limit=self.limit, least_share=self.least_share, sign=self.sign
        )
        if blame is None:
            return ()
        claim = Evidence(
            blame.paths[0], Kind.ACTIVATION_GRAD, "claim", blame.step, blame.decades, 0.0, "decades"
        )
        paths = self.where(case, blame)
        source = case.source_of(paths)
        if self.built:
            source = tuple(dict.fromkeys((*source, *built_lines(case, paths))))
        message = self.message.format(
            activation=activation_word(case, blame.paths[0]),
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (
            self.finding(
                severity=Severity.SERIOUS if blame.share >= _MAIN_SHARE else Severity.MILD,
                axis=Axis.DEPTH,
                message=message,
                paths=paths[:MOST_PATHS],
                source=source,
                evidence=(*self.evidence(case, blame), claim),
                log_gain=blame.decades,
            ),
        )


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


def without_claim(
    case: Case, blame: Blame, kind: Kind, statistic: str, *, power: int = 1
) -> tuple[Evidence, ...]:
    """Return `statistic` at the largest claims against what it would be without the claim.

    The claim is ``power * log10`` of the statistic's excess, so that taking it off is exact.
    """
    cells = {op.path: cells_of(op) for op in case.graph.ops if op.role is OpRole.RECURRENT}
    found = []
    for path in blame.paths:
        recorded = cells.get(path) or path
        observed = value_at(case, recorded, kind, statistic, blame.step)
        if math.isfinite(observed):
            expected = observed / 10.0 ** (power * blame.each[path])
            found.append(Evidence(recorded, kind, statistic, blame.step, observed, expected))
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
    owner_is_leaf = (op.module == path or op.role is OpRole.RECURRENT) and bool(op.module_type)
    return op.module_type if owner_is_leaf else op.name

"""The frame of the rules on what is taken from an optimizer's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._types import Evidence, Finding, Severity
from ._progress import learns_little

if TYPE_CHECKING:
    from .._contracts import AbstractRule
    from ..analysis.case import Case
    from ..analysis.tolls import Toll

_MOST_PATHS = 8


def find_toll(case: Case, taker: str, *, half: float, fewest_steps: int) -> Toll | None:
    """Return what `taker` leaves of the steps of a training that learns little; None if enough.

    Args:
        case: the training.
        taker: a value of `analysis.tolls.Taker`.
        half: of a step, below which too little is left.
        fewest_steps: shorter runs are trials.
    """
    from ..analysis.tolls import Taker, held_back  # noqa: PLC0415 (numpy)

    if case.total_steps < fewest_steps or not learns_little(case):
        return None
    return held_back(case, Taker(taker), half=half)


def toll_finding(
    rule: AbstractRule, case: Case, toll: Toll, *, message: str, evidence: Evidence
) -> Finding:
    """Return what `rule` says of `toll`."""
    return rule.finding(
        severity=Severity.SERIOUS,
        message=message,
        paths=toll.paths[:_MOST_PATHS],
        source=case.source_of(toll.paths),
        evidence=(evidence,),
    )

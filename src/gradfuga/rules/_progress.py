"""What the loss says about how bad a symptom is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._types import Severity

if TYPE_CHECKING:
    from ..analysis.case import Case


def learns_nothing(case: Case) -> bool:
    """Whether it is known that the network does next to no better than a constant."""
    return case.progress.nothing


def learns_little(case: Case) -> bool:
    """Whether it is known that the network learns nothing, or far less than its task permits."""
    return case.progress.known and (not case.progress.informed or case.progress.poor)


def learns_well(case: Case) -> bool:
    """Whether the network has learned what its task is known to permit, or most of the way."""
    return case.progress.well


def severity_of_symptom(case: Case) -> Severity:
    """Return how bad a symptom is: fatal only where nothing is learned."""
    progress = case.progress
    if progress.nothing:
        return Severity.FATAL
    return Severity.SERIOUS if progress.poor or not progress.known else Severity.MILD

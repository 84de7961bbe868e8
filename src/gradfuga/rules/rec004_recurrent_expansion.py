"""A recurrence whose matrix enlarges the gradient at every step.

What it finds
    The recurrences along which the gradient grew before any update, in a network that learns
    nothing, or far less than the data permits, or whose numbers overflowed.

Why it matters
    A matrix with a norm far above one outgrows the slopes of its activation: the gradient at lag k
    is a product of k such steps.

Evidence
    ``recurrent_norm`` and ``recurrent_radius``, the largest singular value and the largest
    eigenvalue of the block that writes the state, against 1.

Known limits
    A norm above one is necessary for an explosion, not sufficient: what counts is measured, the
    growth along the run's own trajectory.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ..analysis.remembering import expanding
from ._time import statistic_evidence, time_finding
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class RecurrentExpansion(AbstractRule):
    """Blames a recurrence that expands."""

    code: ClassVar[str] = "REC004"
    name: ClassVar[str] = "recurrent-expansion"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})
    cause: ClassVar[str] = "recurrent_expansion"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that grows most."""
        found = max(expanding(case), key=lambda each: each.growth, default=None)
        if found is None:
            return ()
        message = _("Each step through '{path}' multiplies the gradient by {rate}.").format(
            path=found.path, rate=plain(found.rate)
        )
        evidence: tuple[Evidence, ...] = (
            *statistic_evidence(case, found, "recurrent_norm", Kind.WEIGHT, 1.0),
            *statistic_evidence(case, found, "recurrent_radius", Kind.WEIGHT, 1.0),
        )
        return (
            time_finding(
                self, case, found, message=message, evidence=evidence, log_gain=found.growth
            ),
        )


RULE = RecurrentExpansion()

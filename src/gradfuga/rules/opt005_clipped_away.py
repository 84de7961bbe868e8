"""Gradient clipping that leaves next to nothing of the steps.

What it finds
    In a network that learns nothing: weights that move by less than a hundredth of their size
    over the run, and would move more if the gradient were not clipped.

Why it matters
    Clipping bounds the step, not only the outlier: with a bound far below the usual norm every
    step is cut to the same small length, and under SGD the network stands still.

Evidence
    ``clip_coefficient``, the norm that the optimizer is given over the norm that the backward
    pass left, against the coefficient at which the weights would be fed; and the ``feed``.

Known limits
    Adam and its kind divide by the gradient's size, so that clipping does not shorten their
    steps: there it is never blamed, unless epsilon takes over.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063 (a bound of half to ten
    times the average norm).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._feed import best_fed
from ._progress import learns_nothing
from ._short_steps import clip_coefficient
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ClippedAway(AbstractRule):
    """Blames a clipping bound that swallows the steps."""

    code: ClassVar[str] = "OPT005"
    name: ClassVar[str] = "clipped-away"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"clip_coefficient"})
    cause: ClassVar[str] = "clipped_away"

    fed: float = 0.01  # turnovers over the run (decision rule)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the clipping."""
        best = best_fed(case)
        if best is None or case.total_steps < self.fewest_steps or not learns_nothing(case):
            return ()
        coefficient = clip_coefficient(case)
        if best.feed >= self.fed or best.feed / coefficient < self.fed:
            return ()
        step = case.steps[-1]
        message = _(
            "Clipping leaves {coefficient} of the gradient: in {steps} steps no weight changes by "
            "more than {feed} of its size, and without the clipping it would by {unclipped}."
        ).format(
            coefficient=plain(coefficient),
            steps=case.total_steps,
            feed=plain(best.feed),
            unclipped=plain(best.feed / coefficient),
        )
        return (
            Finding(
                code=self.code,
                name=self.name,
                role=self.role,
                severity=Severity.SERIOUS,
                message=message,
                evidence=(
                    Evidence(
                        "optimizer",
                        Kind.WEIGHT_GRAD,
                        "clip_coefficient",
                        step,
                        coefficient,
                        min(1.0, coefficient * self.fed / best.feed) if best.feed > 0.0 else 1.0,
                    ),
                    Evidence(best.path, Kind.UPDATE, "feed", step, best.feed, self.fed),
                ),
                cause=self.cause,
            ),
        )


RULE = ClippedAway()

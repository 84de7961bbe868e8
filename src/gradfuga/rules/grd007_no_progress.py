"""A loss that is no better than the best constant answer.

What it finds
    Trainings of at least 20 steps whose loss is no better than that of the best constant
    prediction: either by less than a hundredth at most, or by far less than a reference learner
    makes of the same examples.

Why it matters
    A falling loss is not learning: a dead network still learns the class frequencies through
    the bias of its last layer, and its loss falls until it gets there. The best constant is
    where that ends. Nothing else is asked of a symptom before it is called an illness.

Evidence
    The last loss against that of the best constant (entropy of the labels, variance of the
    targets, both from targets that were seen), and ``progress_at_most``, the largest share of the
    way from there to zero that the noise allows for. Where losses were paired with those of the
    best constant on the same batch, what the batches differ by cancels.

Known limits
    Needs targets that can be read off the tape. A task with a long plateau before it is learned
    looks like one that never is. It does not say why.

References
    docs/how-it-judges.md: memorised random labels get to .02 or .03 of the way, the
    slowest healthy learner to .12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._progress import learns_nothing
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class NoProgress(AbstractRule):
    """Finds a loss that a constant would reach as well."""

    code: ClassVar[str] = "GRD007"
    name: ClassVar[str] = "no-progress"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"baseline"})

    informed: float = 0.05  # of the way (decision rule; the judgement uses the same)
    nothing: float = 0.01  # of the way; less could not be told from none (chosen)
    fewest_steps: int = 20  # before that a loss has no past (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the loss."""
        progress = case.progress
        if not learns_nothing(case) or case.total_steps < self.fewest_steps:
            return ()
        last = progress.last if progress.last is not None else math.nan
        steps = case.readings.losses[0]
        step = int(steps[-1]) if steps.size else case.total_steps
        text = (
            _(
                "The loss of {loss} is no better than the {baseline} of the best constant "
                "prediction: the network has learned nothing about its inputs."
            )
            if progress.most < self.nothing
            else _(
                "The loss of {loss} is hardly better than the {baseline} of the best constant "
                "prediction: the network has learned next to nothing about its inputs."
            )
        )
        message = text.format(loss=plain(last), baseline=plain(progress.baseline))
        return (
            self.finding(
                severity=Severity.FATAL,
                message=message,
                evidence=(
                    Evidence("loss", Kind.LOSS, "value", step, last, progress.baseline),
                    Evidence("loss", Kind.LOSS, "progress", step, progress.u, self.informed),
                    Evidence(
                        "loss", Kind.LOSS, "progress_at_most", step, progress.most, self.nothing
                    ),
                ),
            ),
        )


RULE = NoProgress()

"""Adam's epsilon above the gradient, so that it swallows the steps.

What it finds
    In a network that learns nothing under Adam or its kind: weights that move by less than a
    hundredth of their size over the run, and would move more without epsilon; or an epsilon that
    leaves less than a tenth of steps that would have led the weights somewhere.

Why it matters
    Adam divides the gradient by its own size plus epsilon. A gradient far below epsilon is divided
    by epsilon alone: the step shrinks with the gradient, as it would under SGD, and the promise of
    a learning rate for every layer is gone. A loss of a tiny scale is enough.

Evidence
    ``attenuation``, the mean of ``sqrt(v) / (sqrt(v) + eps)`` over the best served weight,
    against the value at which the weights would be fed; and the ``feed``.

Known limits
    In float32 the second moment of a gradient below 1e-22 underflows, and a smaller epsilon does
    not help any more: scale the loss up instead.

References
    Kingma and Ba 2015, https://arxiv.org/abs/1412.6980. Wortsman et al. 2023,
    https://arxiv.org/abs/2309.14322 (epsilon in large models).
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
from ._short_steps import attenuation
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class AdamEpsilon(AbstractRule):
    """Blames an epsilon that swallows the steps."""

    code: ClassVar[str] = "OPT006"
    name: ClassVar[str] = "adam-epsilon"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"attenuation"})
    cause: ClassVar[str] = "adam_epsilon"

    fed: float = 0.01  # turnovers over the run (decision rule)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the optimizer."""
        from ..analysis.tolls import Taker, held_back  # noqa: PLC0415 (numpy)

        best = best_fed(case)
        if best is None or case.total_steps < self.fewest_steps or not learns_nothing(case):
            return ()
        share = attenuation(case)
        starved = best.feed < self.fed <= best.feed / share
        if not starved and held_back(case, Taker.EPSILON) is None:
            return ()
        step = case.steps[-1]
        message = _(
            "Epsilon ({eps}) is far above the gradients: it leaves {share} of the steps, and in "
            "{steps} steps no weight changes by more than {feed} of its size."
        ).format(
            eps=plain(case.record.settings.get("eps", float("nan"))),
            share=plain(share),
            steps=case.total_steps,
            feed=plain(best.feed),
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                evidence=(
                    Evidence(
                        best.path,
                        Kind.UPDATE,
                        "attenuation",
                        step,
                        share,
                        min(1.0, share * self.fed / best.feed) if best.feed > 0.0 else 1.0,
                    ),
                    Evidence(best.path, Kind.UPDATE, "feed", step, best.feed, self.fed),
                ),
            ),
        )


RULE = AdamEpsilon()

"""Adagrad's sum of squares, filled by an early spike.

What it finds
    In a network that learns nothing, or far too little, under Adagrad: late steps that are less
    than a tenth of what Adagrad leaves of its steps under a steady gradient.

Why it matters
    Adagrad divides each step by the root of the sum of all squared gradients so far, which never
    shrinks. A few huge gradients at the start, or a large initial value of the sum, keep every
    later step short for the rest of the run: a learning rate that nobody has set.

Evidence
    ``adagrad_share``, |g| over the root of the sum, times the root of the number of steps; 1 for a
    steady gradient.

Known limits
    A gradient that falls because the network has converged looks the same, which is why a network
    that learns is not reported.

References
    Duchi, Hazan and Singer 2011, https://jmlr.org/papers/v12/duchi11a.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ._toll import find_toll, toll_finding
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class AdagradDecay(AbstractRule):
    """Blames a sum of squares that an early spike has filled."""

    code: ClassVar[str] = "OPT007"
    name: ClassVar[str] = "adagrad-decay"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"adagrad_share"})
    cause: ClassVar[str] = "learning_rate_too_low"

    half: float = 0.5  # of a step, below which it is another step (chosen)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the optimizer."""
        toll = find_toll(case, "adagrad", half=self.half, fewest_steps=self.fewest_steps)
        if toll is None:
            return ()
        message = _(
            "Adagrad's sum of squared gradients leaves {share} of the steps that a steady gradient "
            "would get: it was filled early and never shrinks."
        ).format(share=plain(toll.kept))
        evidence = Evidence(
            "optimizer", Kind.UPDATE, "adagrad_share", case.steps[-1], toll.kept, 1.0
        )
        return (toll_finding(self, case, toll, message=message, evidence=evidence),)


RULE = AdagradDecay()

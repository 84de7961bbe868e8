"""Updates that the format of the weights rounds away.

What it finds
    In a network that learns nothing, or far too little: more than half of the weights' values that
    the optimizer wanted to move stayed exactly as they were, although the steps that were wanted
    are long enough to learn by.

Why it matters
    A bfloat16 number has eight significant bits: whatever is smaller than 1/512 of it is always
    lost when it is added. The usual update of a thousandth of a weight is swallowed whole, step
    after step, and no number of steps adds up to anything.

Evidence
    ``swallowed``, the share of the values with a step that is not zero that are equal before and
    after it, over all weights of half precision.

Known limits
    Optimizers that keep a copy of the weights in float32 show the same share while they learn; a
    network that learns is not reported. The wanted step is worked out for SGD, RMSprop, Adam
    and AdamW.

References
    Zamirai et al. 2020, Revisiting BFloat16 Training, https://arxiv.org/abs/2010.06192.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ._toll import find_toll, toll_finding
from ._words import plain, quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class SwallowedUpdate(AbstractRule):
    """Blames weights whose format rounds the updates away."""

    code: ClassVar[str] = "NUM002"
    name: ClassVar[str] = "swallowed-update"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"swallowed"})
    cause: ClassVar[str] = "swallowed_update"

    half: float = 0.5  # of a step, below which it is another step (chosen)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the weights, the worst first."""
        toll = find_toll(case, "rounding", half=self.half, fewest_steps=self.fewest_steps)
        if toll is None:
            return ()
        message = _(
            "{share} of the values that a step should move stay as they are: in half precision the "
            "weights of {layers} are too coarse for updates of this size."
        ).format(share=plain(1.0 - toll.kept), layers=quoted(toll.paths))
        evidence = Evidence(
            toll.paths[0], Kind.UPDATE, "swallowed", case.steps[-1], 1.0 - toll.kept, self.half
        )
        return (toll_finding(self, case, toll, message=message, evidence=evidence),)


RULE = SwallowedUpdate()

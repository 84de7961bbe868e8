"""A sigmoid or softmax at the output whose gradient the loss does not undo.

What it finds
    An activation between the last layer and the loss that is driven into its flat part, such as
    a sigmoid under a squared error.

Why it matters
    Where the answer is sure and wrong, the slope is nearly zero, so that the worst examples pull
    least. Cross entropy divides by the same slope and keeps the gradient; squared error does not.

Evidence
    ``mean_squared_slope`` of the output's activation at the blamed step, against the one at unit
    variance; and the claim on the reach, in decades.

Known limits
    Outputs that are saturated and right have a small gradient for a good reason; the account is
    asked only where the reach is a symptom.

References
    Rumelhart, Hinton and Williams 1986; Bishop 1995, Neural Networks for Pattern Recognition,
    chapter 6 (error functions and the outputs that match them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from .._types import Finding, Kind
from ._blame import AbstractBlame, without_claim
from ._dead import dead, dead_finding

if TYPE_CHECKING:
    from .._types import Evidence
    from ..analysis.case import Case
    from ._blame import Blame


@final
@dataclass(frozen=True, slots=True)
class SaturatedOutput(AbstractBlame):
    """Blames an output activation that swallows the gradient."""

    code: ClassVar[str] = "ACT003"
    name: ClassVar[str] = "saturated-output"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "saturated_output"
    sign: ClassVar[int] = -1

    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: the dead layers, or else what the account says."""
        found = dead(case, saturated=True, at_output=True)
        if found is not None:
            text = _("{activation} at {layers} is flat for every example: no gradient passes it.")
            return (dead_finding(self, case, found, text, limit=self.dead_layer),)
        return self.blamed(case)

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The output passes through {activation} at '{layer}', which is flat where the network "
            "answers: the loss's gradient shrinks {factor} times before it reaches the last layer, "
            "{share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)


RULE = SaturatedOutput()

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

from .._contracts import AbstractRule
from .._messages import _
from .._types import Finding, Kind, Role
from ._blame import activation_word, find_blame, finding_of, without_claim
from ._dead import dead, dead_finding
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class SaturatedOutput(AbstractRule):
    """Blames an output activation that swallows the gradient."""

    code: ClassVar[str] = "ACT003"
    name: ClassVar[str] = "saturated-output"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "saturated_output"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)
    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        found = dead(case, saturated=True, at_output=True)
        if found is not None:
            text = _("{activation} at {layers} is flat for every example: no gradient passes it.")
            return (dead_finding(self, case, found, text, limit=self.dead_layer),)
        blame = find_blame(
            case, self.cause, limit=self.limit, least_share=self.least_share, sign=-1
        )
        if blame is None:
            return ()
        evidence = without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)
        message = _(
            "The output passes through {activation} at '{layer}', which is flat where the network "
            "answers: the loss's gradient shrinks {factor} times before it reaches the last layer, "
            "{share:.0%} of the symptom."
        ).format(
            activation=activation_word(case, blame.paths[0]),
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence),)


RULE = SaturatedOutput()

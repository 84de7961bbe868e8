"""An activation that is driven into its flat part.

What it finds
    Activations whose slope, where they work, is below the one that they have for inputs of unit
    variance: their inputs are so large that most values lie where the curve is flat.

Why it matters
    A flat curve passes no gradient. The forward signal still looks lively, because it jumps
    between the two ends of the curve, so nothing but the slope shows the fault.

Evidence
    ``mean_squared_slope`` at the blamed step, against the one at unit variance; and the claim on
    the reach, in decades.

Known limits
    Inputs a hundred times too large cost a tanh layer 1.3 decades. Where the inputs of the whole
    network are at fault, only the first layer saturates.

References
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks. LeCun et al. 1998, Efficient BackProp.
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
class SaturatedActivation(AbstractRule):
    """Blames activations that work in their flat part."""

    code: ClassVar[str] = "ACT002"
    name: ClassVar[str] = "saturated-activation"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "saturated_activation"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)
    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        found = dead(case, saturated=True, at_output=False)
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
            "{activation} at '{layer}' ({count} in all) works in its flat part, because "
            "its inputs are too large: it shrinks the gradient {factor} times, {share:.0%} of "
            "the symptom."
        ).format(
            activation=activation_word(case, blame.paths[0]),
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence),)


RULE = SaturatedActivation()

"""Units that are switched off for every example.

What it finds
    ReLUs and their kind that pass less of the gradient than the half that is usual; and whole
    layers in which no unit passes anything, at the first or at the last sampled step.

Why it matters
    A unit that is off for every example gets no gradient and stays off. A layer of such units is
    a wall: nothing below it learns again.

Evidence
    ``mean_squared_slope`` (the active share) of the ops that claim most, against one half; or
    ``dead_share`` of the dead layers, against the nine tenths from which a layer counts as dead.

Known limits
    A dead layer that a learning rate has killed is reported here as a state; what killed it is
    said by learning-rate-too-high. A network that learns is left to the note dead-units.

References
    Lu, Shin, Su and Karniadakis 2019, Dying ReLU and Initialization,
    https://arxiv.org/abs/1903.06733. Maas, Hannun and Ng 2013 (leaky ReLU).
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
class DeadRelu(AbstractRule):
    """Blames units that are off for every example."""

    code: ClassVar[str] = "ACT004"
    name: ClassVar[str] = "dead-relu"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "dead_relu"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)
    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: the dead layers, or else what the account says of closed units."""
        found = dead(case, saturated=False)
        if found is not None:
            text = (
                _("Every unit of {layers} is off from the first step: no gradient passes.")
                if found.born
                else _("Every unit of {layers} has been switched off: no gradient passes any more.")
            )
            return (dead_finding(self, case, found, text, limit=self.dead_layer),)
        blame = find_blame(
            case, self.cause, limit=self.limit, least_share=self.least_share, sign=-1
        )
        if blame is None:
            return ()
        message = _(
            "{activation} at '{layer}' ({count} in all) is off for more values than it "
            "should be: that shrinks the gradient {factor} times, {share:.0%} of the symptom."
        ).format(
            activation=activation_word(case, blame.paths[0]),
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        evidence = without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)
        return (finding_of(self, case, blame, message, evidence=evidence),)


RULE = DeadRelu()

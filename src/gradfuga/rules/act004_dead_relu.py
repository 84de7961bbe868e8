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
class DeadRelu(AbstractBlame):
    """Blames units that are off for every example."""

    code: ClassVar[str] = "ACT004"
    name: ClassVar[str] = "dead-relu"
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "dead_relu"
    sign: ClassVar[int] = -1

    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: the dead layers, or else what the account says."""
        found = dead(case, saturated=False)
        if found is not None:
            text = (
                _("Every unit of {layers} is off from the first step: no gradient passes.")
                if found.born
                else _("Every unit of {layers} has been switched off: no gradient passes any more.")
            )
            return (dead_finding(self, case, found, text, limit=self.dead_layer),)
        return self.blamed(case)

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "{activation} at '{layer}' ({count} in all) is off for more values than it "
            "should be: that shrinks the gradient {factor} times, {share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)


RULE = DeadRelu()

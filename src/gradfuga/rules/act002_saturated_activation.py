"""An activation that is driven into its flat part.

What it finds
    Activations whose slope, where they work, is below the one that they have for inputs of unit
    variance: their inputs are so large that most values lie where the curve is flat.

Why it matters
    A flat curve passes no gradient. The forward signal still looks lively, because it jumps
    between the two ends of the curve, so nothing but the slope shows the fault.

Evidence
    ``mean_squared_slope`` at the blamed step, against the one at unit variance; and the claim on
    the reach, in decades. Where the first layer saturates because of the data, ``input_rms``, the
    data's size, against 1.

Known limits
    Inputs a hundred times too large cost a tanh layer 1.3 decades. Where the inputs of the whole
    network are at fault, only the first layer saturates.

References
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks. LeCun et al. 1998, Efficient BackProp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from .._types import Evidence, Finding, Kind
from ._blame import AbstractBlame, without_claim
from ._dead import dead, dead_finding
from ._raw_inputs import raw_inputs
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ._blame import Blame


@final
@dataclass(frozen=True, slots=True)
class SaturatedActivation(AbstractBlame):
    """Blames activations that work in their flat part."""

    code: ClassVar[str] = "ACT002"
    name: ClassVar[str] = "saturated-activation"
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "saturated_activation"
    sign: ClassVar[int] = -1

    dead_layer: float = 0.9  # of its units; a healthy narrow conv reaches .88 (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: the dead layers, or else what the account says."""
        found = dead(case, saturated=True, at_output=False)
        if found is not None:
            text = _("{activation} at {layers} is flat for every example: no gradient passes it.")
            return (dead_finding(self, case, found, text, limit=self.dead_layer),)
        return tuple(self._of_raw_inputs(case, finding) for finding in self.blamed(case))

    def _of_raw_inputs(self, case: Case, finding: Finding) -> Finding:
        """Say where the inputs are too large: in the data itself, right below the first layer."""
        first = case.op_of(case.layers[-1])
        above = {case.graph.ops[edge.consumer].path for edge in case.graph.consumers[first.index]}
        raw = raw_inputs(case, case.blamed.step)
        if finding.paths[0] not in above or raw is None:
            return finding
        text = _(
            "What goes into '{layer}', the first layer, is of size {size}: standardize the data to "
            "mean 0 and variance 1."
        ).format(layer=raw.path, size=plain(raw.observed))
        return replace(
            finding,
            message=f"{finding.message} {text}",
            evidence=(raw, *finding.evidence),
        )

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "{activation} at '{layer}' ({count} in all) works in its flat part, because "
            "its inputs are too large: it shrinks the gradient {factor} times, {share:.0%} of "
            "the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)


RULE = SaturatedActivation()

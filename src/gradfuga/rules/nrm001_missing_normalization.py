"""A deep network of GELU, SiLU or Mish without anything that holds its signal.

What it finds
    Smooth activations whose slope has drifted away from what their initialisation was made for,
    in a network without a normalisation layer.

Why it matters
    The critical point of these activations repels: a signal slightly too small becomes smaller
    with every layer, and its slope goes to one half; one slightly too large grows. He
    initialisation alone holds a GELU network up to about ten or twenty layers.

Evidence
    ``mean_squared_slope`` at the ops that claim most, at the blamed step, against what it would
    be without the claim; and the claim on the reach, in decades.

Known limits
    A skip connection holds the signal as well and may be the better repair. Which of the two is
    missing, the account cannot tell.

References
    ``gradfuga.theory.mean_field``: the slope of the length map at the critical point is 1.09 for
    GELU, 1.10 for SiLU, 1.04 for Mish. Schoenholz et al. 2017,
    https://arxiv.org/abs/1611.01232.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from .._types import Kind
from ._blame import AbstractBlame, without_claim

if TYPE_CHECKING:
    from .._types import Evidence
    from ..analysis.case import Case
    from ._blame import Blame


@final
@dataclass(frozen=True, slots=True)
class MissingNormalization(AbstractBlame):
    """Blames the drift of a smooth activation that nothing normalizes."""

    code: ClassVar[str] = "NRM001"
    name: ClassVar[str] = "missing-normalization"
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "missing_normalization"

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "Nothing holds the signal of {activation} at '{layer}' ({count} in all), so "
            "that its slope drifts: that changes the gradient {factor} times, {share:.0%} of the "
            "symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)


RULE = MissingNormalization()

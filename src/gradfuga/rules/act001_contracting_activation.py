"""An activation whose slope is below one wherever it works.

What it finds
    Activations that shrink the gradient even where they work as they are meant to: a sigmoid's
    slope never exceeds a quarter, and is 0.21 for inputs of unit variance.

Why it matters
    The gradient is multiplied by the slope once a layer. Ten sigmoid layers at PyTorch's default
    initialisation lose 8.5 decades, of which the sigmoid takes most. Weights large enough to make
    up for it would drive the sigmoid into its flat part.

Evidence
    ``mean_squared_slope`` where the activation works at the blamed step, against what it would
    be without the claim; and the claim on the reach, in decades. The slope that a good
    initialisation makes up for, as with ReLU, is not counted.

Known limits
    Two single repairs are sufficient for a sigmoid, a normalised activation or very large
    centred weights, so read the share and not "the" cause. LayerNorm, RMSNorm, Xavier
    initialisation and LSUV do not help: they set the forward signal, not the slope.

References
    Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
    networks. Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232. Lu, Gould and Ajanthan
    2020, https://arxiv.org/abs/2006.12169 (normalised activations).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Finding, Kind, Role
from ._blame import activation_word, find_blame, finding_of, without_claim
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ContractingActivation(AbstractRule):
    """Blames activations that contract the gradient where they work."""

    code: ClassVar[str] = "ACT001"
    name: ClassVar[str] = "contracting-activation"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"mean_squared_slope"})
    cause: ClassVar[str] = "contracting_activation"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        blame = find_blame(
            case, self.cause, limit=self.limit, least_share=self.least_share, sign=-1
        )
        if blame is None:
            return ()
        evidence = without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)
        message = _(
            "{activation} at '{layer}' ({count} in all) shrinks the gradient "
            "wherever it works: together {factor} times, {share:.0%} of the symptom."
        ).format(
            activation=activation_word(case, blame.paths[0]),
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence),)


RULE = ContractingActivation()

"""An activation whose slope is below one wherever it works.

What it finds
    Activations that shrink the gradient even where they work as they are meant to: a sigmoid's
    slope never exceeds a quarter, and is 0.21 for inputs of unit variance. The gates of an LSTM
    pass a quarter from layer to layer while they are half open. An activation that the script
    writes out, as ``1 / (1 + exp(-x))``, is taken as the one that its ops make up.

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
class ContractingActivation(AbstractBlame):
    """Blames activations that contract the gradient where they work."""

    code: ClassVar[str] = "ACT001"
    name: ClassVar[str] = "contracting-activation"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "contracting_activation"
    sign: ClassVar[int] = -1

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "{activation} at '{layer}' ({count} in all) shrinks the gradient "
            "wherever it works: together {factor} times, {share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "mean_squared_slope", power=2)


RULE = ContractingActivation()

"""Weights that start too small for the activation that follows them.

What it finds
    Layers whose weight scale ``|W| / sqrt(outputs)`` is below the gain that suits their
    activation: sqrt(2) for ReLU, 1.48 for GELU, 1.62 for SiLU, 1 for tanh, sigmoid and none.

Why it matters
    The weight scale is the gain of the gradient across the layer. PyTorch's default is
    1/sqrt(3) for every activation, which loses 3.9 decades in ten ReLU layers, and the activations
    fade with the gradient, so that the weight gradients of all layers may look alike.

Evidence
    ``scale`` of the layers that claim most, at the blamed step, against the scale without the
    claim; and the claim on the reach, in decades. A normalisation is netted with the layer whose
    scale it undoes.

Known limits
    In a normalised network the scale of a weight is not what matters, and the account nets it
    away. Weights that shrank during the training are weight decay's doing, if it is on.

References
    He et al. 2015, https://arxiv.org/abs/1502.01852. Glorot and Bengio 2010. PyTorch's
    ``Linear.reset_parameters`` (kaiming_uniform with a = sqrt(5)).
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
class SmallInitialization(AbstractBlame):
    """Blames weights that are too small for their activation."""

    code: ClassVar[str] = "INI001"
    name: ClassVar[str] = "small-initialization"
    needs: ClassVar[frozenset[str]] = frozenset({"scale"})
    cause: ClassVar[str] = "small_init"
    sign: ClassVar[int] = -1
    built: ClassVar[bool] = True

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The weights at '{layer}' (layers in all: {count}) are too small for what follows "
            "them: together they shrink the gradient {factor} times, {share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.WEIGHT, "scale")


RULE = SmallInitialization()

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

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Finding, Kind, Role
from ._blame import find_blame, finding_of, without_claim
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class SmallInitialization(AbstractRule):
    """Blames weights that are too small for their activation."""

    code: ClassVar[str] = "INI001"
    name: ClassVar[str] = "small-initialization"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"scale"})
    cause: ClassVar[str] = "small_init"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        blame = find_blame(
            case, self.cause, limit=self.limit, least_share=self.least_share, sign=-1
        )
        if blame is None:
            return ()
        evidence = without_claim(case, blame, Kind.WEIGHT, "scale")
        message = _(
            "The weights at '{layer}' (layers in all: {count}) are too small for what follows "
            "them: together they shrink the gradient {factor} times, {share:.0%} of the symptom."
        ).format(
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence, built=True),)


RULE = SmallInitialization()

"""Weights that start too large for the activation that follows them.

What it finds
    Layers whose weight scale ``|W| / sqrt(outputs)`` is above the gain that suits their
    activation, in a network whose gradient grows towards its first layers.

Why it matters
    Every layer multiplies the gradient by its scale. At twice the sound scale, sixteen layers
    make it 65,000 times larger, and no learning rate suits both ends of the network.

Evidence
    ``scale`` of the layers that claim most, at the blamed step, against the scale without the
    claim; and the claim on the reach, in decades.

Known limits
    Where large weights drive an activation into its flat part, the gradient vanishes and the
    flat part is blamed, because that is what shrinks it.

References
    Poole et al. 2016, Exponential expressivity in deep neural networks through transient chaos.
    He et al. 2015, https://arxiv.org/abs/1502.01852.
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
class LargeInitialization(AbstractRule):
    """Blames weights that are too large for their activation."""

    code: ClassVar[str] = "INI002"
    name: ClassVar[str] = "large-initialization"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"scale"})
    cause: ClassVar[str] = "large_init"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        blame = find_blame(case, self.cause, limit=self.limit, least_share=self.least_share, sign=1)
        if blame is None:
            return ()
        evidence = without_claim(case, blame, Kind.WEIGHT, "scale")
        message = _(
            "The weights at '{layer}' (layers in all: {count}) are too large for what follows "
            "them: together they grow the gradient {factor} times, {share:.0%} of the symptom."
        ).format(
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence, built=True),)


RULE = LargeInitialization()

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
class LargeInitialization(AbstractBlame):
    """Blames weights that are too large for their activation."""

    code: ClassVar[str] = "INI002"
    name: ClassVar[str] = "large-initialization"
    needs: ClassVar[frozenset[str]] = frozenset({"scale"})
    cause: ClassVar[str] = "large_init"
    sign: ClassVar[int] = 1
    built: ClassVar[bool] = True

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The weights at '{layer}' (layers in all: {count}) are too large for what follows "
            "them: together they grow the gradient {factor} times, {share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.WEIGHT, "scale")


RULE = LargeInitialization()

"""Residual branches that add up to an exploding gradient.

What it finds
    Blocks ``x + f(x)`` across which the gradient grows, in a network whose gradient explodes.

Why it matters
    A branch of unit gain doubles the squared gradient in every block, so that 32 blocks make it
    65,000 times larger. Scaling the branches by ``1/sqrt(blocks)``, or starting them at zero,
    keeps it within a factor of two.

Evidence
    The claim on the reach, in decades, of the blocks that claim most.

Known limits
    A block counts as one factor: which part of its branch is too strong is not said. Pre-LN
    transformers grow like the square root of their depth, which is sound.

References
    De and Smith 2020, https://arxiv.org/abs/2002.10444 (SkipInit). Zhang, Dauphin and Ma 2019,
    https://arxiv.org/abs/1901.09321 (Fixup). Bachlechner et al. 2020,
    https://arxiv.org/abs/2003.04887 (ReZero).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from ._blame import AbstractBlame
from ._branches import branch_ends

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ._blame import Blame


@final
@dataclass(frozen=True, slots=True)
class UnscaledResidual(AbstractBlame):
    """Blames residual branches that nothing scales down."""

    code: ClassVar[str] = "RES002"
    name: ClassVar[str] = "unscaled-residual"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "unscaled_residual"
    sign: ClassVar[int] = 1

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The residual blocks ({count} in all, one of them at '{layer}') add their branch at "
            "full strength: together they grow the gradient {factor} times, {share:.0%} of the "
            "symptom."
        )

    def where(self, case: Case, blame: Blame) -> tuple[str, ...]:
        """Return the blocks; of sums that stand in no block, the layers that are added."""
        return branch_ends(case.graph, blame.paths)


RULE = UnscaledResidual()

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

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Finding, Role
from ._blame import find_blame, finding_of
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class UnscaledResidual(AbstractRule):
    """Blames residual branches that nothing scales down."""

    code: ClassVar[str] = "RES002"
    name: ClassVar[str] = "unscaled-residual"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "unscaled_residual"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        blame = find_blame(case, self.cause, limit=self.limit, least_share=self.least_share, sign=1)
        if blame is None:
            return ()
        evidence = ()
        message = _(
            "The residual blocks ({count} in all, one of them at '{layer}') add their branch at "
            "full strength: together they grow the gradient {factor} times, {share:.0%} of the "
            "symptom."
        ).format(
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        return (finding_of(self, case, blame, message, evidence=evidence),)


RULE = UnscaledResidual()

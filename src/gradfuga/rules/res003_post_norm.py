"""Blocks that normalize the sum of skip and branch, so that the gradient falls from block to block.

What it finds
    Blocks ``norm(x + f(x))`` (post-norm) across which the gradient falls, in a network whose
    gradient vanishes.

Why it matters
    The normalisation takes off what the branch has added, and the gradient of the skip path with
    it: a factor of about sqrt(2) in every block whose branch is as strong as its input, and more
    once a high learning rate has made the branches strong. Six blocks are fine, twenty-four without
    a warm-up are not.

Evidence
    The claim on the reach, in decades, of the blocks that claim most: of the normalisation and
    the sum below it together.

Known limits
    A block counts as one factor: which part of its branch is too strong is not said.

References
    Xiong et al. 2020, https://arxiv.org/abs/2002.04745. Liu et al. 2020,
    https://arxiv.org/abs/2004.08249 (Admin). Wang et al. 2022, https://arxiv.org/abs/2203.00555
    (DeepNorm).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from .._messages import _
from ._blame import AbstractBlame


@final
@dataclass(frozen=True, slots=True)
class PostNorm(AbstractBlame):
    """Blames normalisations of residual sums."""

    code: ClassVar[str] = "RES003"
    name: ClassVar[str] = "post-norm"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "unscaled_residual"
    sign: ClassVar[int] = -1

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The blocks ({count} in all, one of them at '{layer}') normalize the sum of skip and "
            "branch (post-norm), which takes off the skip path what the branch adds: together they "
            "shrink the gradient {factor} times, {share:.0%} of the symptom."
        )


RULE = PostNorm()

"""Normalize before attention and feed-forward layers, not behind the sum.

What it changes
    Torch's transformer blocks get ``norm_first=True``, and the stack a LayerNorm at its end.

Why it helps
    Behind the sum, each block multiplies the gradient of the skip path by about sqrt(2/3);
    before the branch, the skip path is the identity, and the gradient of the last layers falls
    with the depth.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``learning_rate_too_high``, ``missing_normalization``, ``plain_depth``,
    ``small_init`` and ``unscaled_residual``. Later blocks add less and less, since the sum grows.
    It does not treat tokens that have become alike. Blocks of your own are not found: move their
    normalisation by hand.

References
    Xiong et al. 2020, https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, MoveNormalization, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, transformer


@final
class NormalizeFirst(AbstractRemedy):
    """Makes post-norm blocks pre-norm."""

    code: ClassVar[str] = "RX050"
    name: ClassVar[str] = "normalize-first"
    treats: ClassVar[frozenset[str]] = frozenset(
        {
            "missing_normalization",
            "plain_depth",
            "small_init",
            "unscaled_residual",
            "learning_rate_too_high",
        }
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Normalize before each branch (pre-norm)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit for torch's post-norm blocks."""
        if not named(diagnosis, self.treats):
            return ()
        if not transformer(diagnosis):
            return ()
        return (MoveNormalization("pre"),)


REMEDY = NormalizeFirst()

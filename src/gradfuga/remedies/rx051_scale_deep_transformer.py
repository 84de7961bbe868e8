"""Scale post-norm blocks for their depth (DeepNorm).

What it changes
    ``LN(x + f(x))`` becomes ``LN(a x + f(x))`` with a = (2N)^(1/4), and values, output
    projections and feed-forward weights are multiplied by (8N)^(-1/4); N is the number of
    blocks.

Why it helps
    The skip path outweighs the branches, so that the update of the whole stack stays bounded at
    any depth, while the normalisation stays where post-norm has it.

Safety
    Unsafe: the network computes another function afterwards; weights are rescaled.

Known limits
    It treats ``learning_rate_too_high``, ``missing_normalization``, ``plain_depth``,
    ``small_init`` and ``unscaled_residual``. The constants are those of a lone encoder or decoder.
    Only torch's own blocks are found. It is no cure for a learning rate that is far too high.

References
    Wang et al. 2022, https://arxiv.org/abs/2203.00555.
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
class ScaleDeepTransformer(AbstractRemedy):
    """Scales post-norm blocks for their depth."""

    code: ClassVar[str] = "RX051"
    name: ClassVar[str] = "scale-deep-transformer"
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
        return _("Scale the transformer blocks (DeepNorm)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit for torch's post-norm blocks."""
        if not named(diagnosis, self.treats):
            return ()
        if not transformer(diagnosis):
            return ()
        return (MoveNormalization("deepnorm"),)


REMEDY = ScaleDeepTransformer()

"""Make the branches of a residual network small at the start.

What it changes
    ``x + f(x)`` becomes ``x + f(x) / sqrt(blocks)``.

Why it helps
    A branch of unit gain doubles the squared gradient in every block. Scaled by 1/sqrt(blocks)
    all of them together grow it by e at most.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``unscaled_residual``. It does not treat branches that explode by themselves, nor a
    plain stack without skips. Only branches that end in a layer or a normalization are found.
    A normalisation at the beginning of each branch helps as well.

References
    De and Smith 2020, https://arxiv.org/abs/2002.10444. Zhang, Dauphin and Ma 2019,
    https://arxiv.org/abs/1901.09321. Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, ScaleBranch
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class ScaleResidual(AbstractRemedy):
    """Scales residual branches down."""

    code: ClassVar[str] = "RX006"
    name: ClassVar[str] = "scale-residual"
    treats: ClassVar[frozenset[str]] = frozenset({"unscaled_residual"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the residual branches down")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the two ways to do it."""
        if not named(diagnosis, self.treats):
            return ()
        return (ScaleBranch(paths=places(diagnosis, self.treats)),)


REMEDY = ScaleResidual()

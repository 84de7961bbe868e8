"""Make the branches of a residual network small at the start.

What it changes
    ``x + f(x)`` becomes ``x + f(x) / sqrt(blocks)``, or the last layer of each branch starts at
    zero, or a learned factor that starts at zero is put before the sum.

Why it helps
    A branch of unit gain doubles the squared gradient in every block. Scaled by 1/sqrt(blocks)
    all of them together grow it by e at most; a branch that starts at zero hands the gradient on
    exactly.

Safety
    Advice: the network computes another function afterwards.

Known limits
    A branch that starts at zero shows a gradient of exactly zero inside at the first step; that
    is as it should be. A normalisation at the beginning of each branch helps as well.

References
    De and Smith 2020, https://arxiv.org/abs/2002.10444. Zhang, Dauphin and Ma 2019,
    https://arxiv.org/abs/1901.09321. Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class ScaleResidual(AbstractRemedy):
    """Scales residual branches down."""

    code: ClassVar[str] = "RX006"
    name: ClassVar[str] = "scale-residual"
    treats: ClassVar[frozenset[str]] = frozenset({"unscaled_residual"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the residual branches down")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the two ways to do it."""
        if not named(diagnosis, self.treats):
            return ()
        where = places(diagnosis, self.treats)
        scale = _("Scale each branch by the number of blocks: {code}").format(
            code="x = x + self.branch(x) / math.sqrt(blocks)"
        )
        zero = _("Or start each branch at zero: {code}").format(
            code="nn.init.zeros_(branch_last_layer.weight); nn.init.zeros_(branch_last_layer.bias)"
        )
        return (Advise(scale, where), Advise(zero, where))


REMEDY = ScaleResidual()

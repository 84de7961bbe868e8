"""Keep the weights in a format that small updates can be added to.

What it changes
    The weights stay in float32, and half precision is left to the products inside
    `torch.autocast`. Where memory forbids it: an optimizer with stochastic rounding or with Kahan
    summation.

Why it helps
    float32 takes an update of a ten-millionth of a weight; bfloat16 loses whatever is below a
    five-hundredth.

Safety
    Unsafe: the arithmetic is another one, to within the rounding of its format.

Known limits
    It treats ``swallowed_update``. It does not treat gradients that underflow in their own format.
    A larger learning rate lets more updates through too, if the network bears it.

References
    Zamirai et al. 2020, https://arxiv.org/abs/2010.06192.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetPrecision
from .._messages import _
from .._types import Diagnosis
from ._where import named


@final
class KeepFullWeights(AbstractRemedy):
    """Keeps weights in a format that small updates can be added to."""

    code: ClassVar[str] = "RX024"
    name: ClassVar[str] = "keep-full-weights"
    treats: ClassVar[frozenset[str]] = frozenset({"swallowed_update"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Keep the weights in float32")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits."""
        if not named(diagnosis, self.treats):
            return ()
        return (SetPrecision("float32_weights"),)


REMEDY = KeepFullWeights()

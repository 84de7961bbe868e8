"""Give the gradient a way around the layers.

What it changes
    Groups of layers of equal width become residual blocks, ``x + f(x) / sqrt(blocks)``.

Why it helps
    The sum hands the gradient on as it is, whatever the branch does: a block's gain is at least
    near one. Twenty default ReLU layers go from -7.3 decades to -0.3.

Safety
    Advice: the network computes another function afterwards.

Known limits
    It needs blocks whose input and output have the same shape. Without the factor the gradient
    explodes. A sigmoid network with skips learns, but slower than one without sigmoids.

References
    He et al. 2016, https://arxiv.org/abs/1512.03385. Srivastava, Greff and Schmidhuber 2015,
    https://arxiv.org/abs/1505.00387.
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
class AddSkip(AbstractRemedy):
    """Adds skip connections."""

    code: ClassVar[str] = "RX007"
    name: ClassVar[str] = "add-skip"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"plain_depth", "missing_normalization", "small_init", "contracting_activation"}
    )
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Add skip connections")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Turn groups of layers into residual blocks: {code}").format(
            code="x = x + self.block(x) / math.sqrt(number_of_blocks)"
        )
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = AddSkip()

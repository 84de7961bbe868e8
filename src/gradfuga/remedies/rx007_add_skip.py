"""Give the gradient a way around the layers.

What it changes
    Each layer of equal width becomes a residual block with its activation,
    ``x + f(x) / sqrt(blocks)``.

Why it helps
    The sum hands the gradient on as it is, whatever the branch does: a block's gain is at least
    near one. Twenty default ReLU layers go from -7.3 decades to -0.3.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``, ``missing_normalization``, ``plain_depth`` and
    ``small_init``. It does not treat inputs that saturate the first layer, nor layers that change
    the width. It needs blocks whose input and output have the same shape. Without the factor the
    gradient explodes. A sigmoid network with skips learns, but slower than one without sigmoids.

References
    He et al. 2016, https://arxiv.org/abs/1512.03385. Srivastava, Greff and Schmidhuber 2015,
    https://arxiv.org/abs/1505.00387.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import AddSkip, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named, residual


@final
class AddSkips(AbstractRemedy):
    """Adds skip connections."""

    code: ClassVar[str] = "RX007"
    name: ClassVar[str] = "add-skip"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"plain_depth", "missing_normalization", "small_init", "contracting_activation"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Add skip connections")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        if residual(diagnosis):
            return ()
        return (AddSkip(paths=hidden_layers(diagnosis)),)


REMEDY = AddSkips()

"""Add skip connections around branches that start at zero.

What it changes
    Each layer of equal width becomes ``x + a * f(x)`` with its activation; a is a parameter and
    starts at zero. The layers inside get He initialisation.

Why it helps
    At the start the gradient passes unchanged at any depth (0.0 decades in twenty layers), so
    neither the activation nor the weights can shrink it; a grows as far as the branch is of
    use.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``, ``large_init``, ``plain_depth`` and ``small_init``. It
    does not treat inputs that saturate the first layer. It needs layers whose input and output have
    the same shape. At the first step only the factors learn inside.

References
    Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import AddSkip, Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named, residual


@final
class AddLearnedSkip(AbstractRemedy):
    """Adds skip connections with a learned factor."""

    code: ClassVar[str] = "RX049"
    name: ClassVar[str] = "add-learned-skip"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"plain_depth", "small_init", "large_init", "contracting_activation"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Add skip connections that start as the identity")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the skip with its initialization, unless there are skips already."""
        if not named(diagnosis, self.treats):
            return ()
        if residual(diagnosis):
            return ()
        layers = hidden_layers(diagnosis)
        return (
            Initialize("fan_in", math.sqrt(2.0), paths=layers),
            AddSkip(0.0, learned=True, paths=layers),
        )


REMEDY = AddLearnedSkip()

"""Use ELU, which has a slope on both sides.

What it changes
    Hidden ReLUs become ELU, and the biases start at zero.

Why it helps
    Its slope fades below zero but is never zero, so that a unit always gets a gradient, and its
    outputs are nearly centred.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``dead_relu``. Far below zero the slope is small: a unit that was thrown far away
    comes back slowly. It does not treat the rate that threw it there.

References
    Clevert et al. 2016, https://arxiv.org/abs/1511.07289.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetBias, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named, places


@final
class SwapForElu(AbstractRemedy):
    """Replaces ReLU by ELU."""

    code: ClassVar[str] = "RX063"
    name: ClassVar[str] = "swap-for-elu"
    treats: ClassVar[frozenset[str]] = frozenset({"dead_relu"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap ReLU for ELU")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap and the biases."""
        if not named(diagnosis, self.treats):
            return ()
        return (
            SwapActivation("elu", of="relu", paths=places(diagnosis, self.treats)),
            SetBias(0.0, paths=hidden_layers(diagnosis)),
        )


REMEDY = SwapForElu()

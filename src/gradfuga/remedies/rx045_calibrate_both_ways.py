"""Scale layers and activations on the first batch, for signal and gradient.

What it changes
    Orthogonal weights are scaled to outputs of unit size on the first batch, and each
    activation is stretched and shifted so that its slope and its output are of unit size there.

Why it helps
    One scale a layer cannot keep both the signal and the gradient unless the activation's two
    gains agree. A stretch and a shift behind the activation can: twenty sigmoid layers go from
    -16 decades to -0.2.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``, ``large_init``, ``saturated_activation`` and
    ``small_init``. It does not treat dead units, nor attention. The numbers are those of one batch.
    Activations inside fused layers (attention, recurrent ones) are not reached.

References
    Mishkin and Matas 2016, https://arxiv.org/abs/1511.06422. Lu, Gould and Ajanthan 2020,
    https://arxiv.org/abs/2006.12169.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Calibrate, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named


@final
class CalibrateBothWays(AbstractRemedy):
    """Scales layers and activations by data."""

    code: ClassVar[str] = "RX045"
    name: ClassVar[str] = "calibrate-both-ways"
    treats: ClassVar[frozenset[str]] = frozenset(
        {"contracting_activation", "saturated_activation", "small_init", "large_init"}
    )
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale layers and activations on a batch")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the calibration."""
        if not named(diagnosis, self.treats):
            return ()
        return (Calibrate(two_sided=True, paths=hidden_layers(diagnosis)),)


REMEDY = CalibrateBothWays()

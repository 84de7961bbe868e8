"""Scale every layer on the first batch until its output has unit variance (LSUV).

What it changes
    The weights become orthogonal; then, layer by layer, they are divided by the size of the
    layer's output on the first batch.

Why it helps
    Data say what the scale should be, whatever the activation, the fans and the structure are.
    Twenty default ReLU layers go from -7.3 decades to 0.3.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``large_init`` and ``small_init``. It does not repair a sigmoid: unit variance forward
    leaves its gradient at 0.39 a layer, -7.4 decades in twenty layers. The batch must be a typical
    one.

References
    Mishkin and Matas 2016, https://arxiv.org/abs/1511.06422. Krahenbuhl et al. 2016,
    https://arxiv.org/abs/1511.06856.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Calibrate, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, main_cause, named


@final
class CalibrateLayers(AbstractRemedy):
    """Scales the layers by data."""

    code: ClassVar[str] = "RX044"
    name: ClassVar[str] = "calibrate-layers"
    treats: ClassVar[frozenset[str]] = frozenset({"small_init", "large_init"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Scale the layers on a batch (LSUV)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the calibration, unless a contracting activation is the main cause."""
        if not named(diagnosis, self.treats):
            return ()
        if main_cause(diagnosis) == "contracting_activation":
            return ()
        return (Calibrate(paths=hidden_layers(diagnosis)),)


REMEDY = CalibrateLayers()

"""Draw the incoming weights of dead units anew, and take shorter steps.

What it changes
    Units that are off for the whole first batch get fresh He weights and a bias of zero; the
    learning rate is divided by ten.

Why it helps
    A dead unit has no gradient by which it could come back. Drawn anew it is on for half of the
    examples; shorter steps keep it there.

Safety
    Unsafe: weights that were trained already are lost.

Known limits
    It treats ``dead_relu``. It acts once, at the start of the run. It does not treat what kills the
    units: large negative biases that come back, a bad input scale.

References
    Sokar et al. 2023, https://arxiv.org/abs/2302.12902 (ReDo).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, ReviveUnits, Safety, SetOptimizer
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named

_FACTOR = 0.1  # one decade, the step of the usual search


@final
class RedrawDeadUnits(AbstractRemedy):
    """Draws dead units anew."""

    code: ClassVar[str] = "RX059"
    name: ClassVar[str] = "redraw-dead-units"
    treats: ClassVar[frozenset[str]] = frozenset({"dead_relu"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Draw dead units anew, with a lower rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return both edits."""
        if not named(diagnosis, self.treats):
            return ()
        return (
            ReviveUnits(paths=hidden_layers(diagnosis)),
            SetOptimizer("lr", _FACTOR, relative=True),
        )


REMEDY = RedrawDeadUnits()

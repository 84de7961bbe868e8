"""Let the gradient win against the decay.

What it changes
    ``weight_decay`` goes to 1e-4 under SGD, to 1e-2 under AdamW; biases and normalisations get
    none.

Why it helps
    The weights keep the scale at which they hand the gradient on.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``weight_decay_too_strong``. It does not treat a gradient that is too small without
    any decay. Weights that have shrunk away have to start anew.

References
    Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetOptimizer
from .._messages import _
from .._types import Diagnosis
from ._where import named

_DECOUPLED = 1e-2  # AdamW's default
_IN_THE_GRADIENT = 1e-4  # the usual one of SGD


@final
class LowerWeightDecay(AbstractRemedy):
    """Lowers the weight decay."""

    code: ClassVar[str] = "RX017"
    name: ClassVar[str] = "lower-weight-decay"
    treats: ClassVar[frozenset[str]] = frozenset({"weight_decay_too_strong"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Lower the weight decay")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        decay = _DECOUPLED if diagnosis.run.optimizer.startswith("AdamW") else _IN_THE_GRADIENT
        return (SetOptimizer("weight_decay", decay),)


REMEDY = LowerWeightDecay()

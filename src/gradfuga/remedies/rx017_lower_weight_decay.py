"""Let the gradient win against the decay.

What it changes
    ``weight_decay`` goes to 1e-4 under SGD, to 1e-2 under AdamW; biases and normalisations get
    none.

Why it helps
    The weights keep the scale at which they hand the gradient on.

Safety
    Advice: less regularisation; watch the validation loss.

Known limits
    Weights that have shrunk away have to start anew.

References
    Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101.
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
class LowerWeightDecay(AbstractRemedy):
    """Lowers the weight decay."""

    code: ClassVar[str] = "RX017"
    name: ClassVar[str] = "lower-weight-decay"
    treats: ClassVar[frozenset[str]] = frozenset({"weight_decay_too_strong"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Lower the weight decay")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Lower the weight decay and start from fresh weights: {code}").format(
            code="weight_decay=1e-4 (1e-2 under AdamW)"
        )
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = LowerWeightDecay()

"""Use an activation whose slope is one where it works.

What it changes
    Every hidden sigmoid, or other activation with a small slope, becomes a ReLU with He
    initialisation or a tanh with Xavier initialisation; or it stays, shifted and stretched so
    that its slope and its output are of unit size (a normalised activation).

Why it helps
    A sigmoid's slope is 0.21 where it works, a tanh's and a suitably scaled ReLU's is one. Twenty
    sigmoid layers go from -16 decades to -0.6 as tanh, and to -0.1 as a normalised sigmoid.

Safety
    Advice: the network computes another function afterwards, and must be trained anew.

Known limits
    Sigmoids that are gates, as in an LSTM, or the output of a probability, stay. ReLU needs He
    initialisation with it, tanh the Xavier one, beyond some ten layers. It is prescribed only
    where the activation is the main cause.

References
    Glorot and Bengio 2010. He et al. 2015, https://arxiv.org/abs/1502.01852. Lu, Gould and
    Ajanthan 2020, https://arxiv.org/abs/2006.12169 (normalised activations).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, main_cause, places

_SIGMOID = 1.0 / 16.0  # a sigmoid's squared slope is a sixteenth at most


@final
class SwapActivation(AbstractRemedy):
    """Replaces activations that contract the gradient."""

    code: ClassVar[str] = "RX001"
    name: ClassVar[str] = "swap-activation"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Swap the activation for one that passes the gradient")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the swap, and the way to keep a sigmoid."""
        if main_cause(diagnosis) not in self.treats:
            return ()  # initialization comes first, and may be all that is missing
        where = places(diagnosis, self.treats)
        swap = _("Replace it by {activation} and initialize for that: {code}").format(
            activation="nn.ReLU()",
            code="nn.init.kaiming_normal_(layer.weight, nonlinearity='relu'); "
            "nn.init.zeros_(layer.bias)",
        )
        slopes = evidence_of(diagnosis, "contracting_activation", "mean_squared_slope")
        if any(each.observed > _SIGMOID for each in slopes):
            return (Advise(swap, where),)
        keep = _("Or keep the sigmoid and normalize it: {code} after every sigmoid h.").format(
            code="h = 4.7227 * h - 2.181"
        )
        return (Advise(swap, where), Advise(keep, where))


REMEDY = SwapActivation()

"""Feed stacked LSTMs by weights that undo what their gates take.

What it changes
    The input-to-hidden weights of the layers that shrink the gradient are drawn orthogonal, gate
    by gate, four times as large.

Why it helps
    Between the output of an LSTM and what its own step was fed stand the output gate and the input
    gate. Both are half open at first, so that each layer passes a quarter of the gradient, and
    default weights little more than half of that: six layers take three decades. Four times
    orthogonal is one over what gates at zero pass.

Safety
    Unsafe: the network starts as another one; trained weights are lost.

Known limits
    It treats ``contracting_activation`` where that is an LSTM's. It does not treat gates that are
    flat because of their inputs. In our one trial (six layers, digits row by row, SGD, 300
    steps, five seeds) the loss went to 1.26 where default weights stayed at 2.30.

References
    Saxe, McClelland and Ganguli 2014, https://arxiv.org/abs/1312.6120 (orthogonal weights keep
    the gradient's length); the gates' slopes: docs/how-it-judges.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import gated, places

_GAIN = 4.0  # output gate 1/2 times input gate 1/2, undone


@final
class UndoGates(AbstractRemedy):
    """Makes the layers of a stacked LSTM hand the gradient on."""

    code: ClassVar[str] = "RX064"
    name: ClassVar[str] = "undo-gates"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Draw the weights between LSTM layers so that they undo the gates")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the initialization of the layers that shrink the gradient."""
        if not gated(diagnosis):
            return ()
        paths = places(diagnosis, self.treats)
        return (Initialize("orthogonal", _GAIN, recurrent=True, inputs=True, paths=paths),)


REMEDY = UndoGates()

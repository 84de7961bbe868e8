"""Let gates carry the state.

What it changes
    ``nn.RNN`` to ``nn.GRU`` or ``nn.LSTM``, with the gates' biases set for the lag of the task.

Why it helps
    What a gate keeps is multiplied by a number near one, not by a matrix and a slope. Adding two
    numbers 100 steps apart takes a GRU 740 steps and a tanh network does not learn it (measured).

Safety
    Unsafe: another architecture, with three or four times the weights.

Known limits
    It treats ``recurrent_contraction``. It does not treat a recurrence whose gradient grows. At
    torch's default a gated network forgets as fast as a plain one, in 16 steps: only with
    ``raise-forget-bias`` or ``chrono-initialize`` does it carry further from the start.

References
    Hochreiter and Schmidhuber 1997. Cho et al. 2014, https://arxiv.org/abs/1406.1078.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, ReplaceRecurrent, Safety, SetGateBias
from .._messages import _
from .._types import Diagnosis
from ._where import lag_needed, named, places


@final
class UseGatedUnits(AbstractRemedy):
    """Replaces a plain recurrence by a gated one."""

    code: ClassVar[str] = "RX033"
    name: ClassVar[str] = "use-gated-units"
    treats: ClassVar[frozenset[str]] = frozenset({"recurrent_contraction"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Use a GRU or LSTM with open gates")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        horizon = max(round(lag_needed(diagnosis)), 3)
        where = places(diagnosis, self.treats)
        return (ReplaceRecurrent("gru", where), SetGateBias(horizon=horizon, paths=where))


REMEDY = UseGatedUnits()

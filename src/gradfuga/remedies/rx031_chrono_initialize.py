"""Spread the gates over the time scales of the task.

What it changes
    The forget biases of an LSTM to the logarithm of numbers drawn evenly from 1 to T - 1, the input
    biases to their negatives; the update biases of a GRU likewise. T is the lag that is needed.

Why it helps
    Each unit forgets at its own pace, some as slowly as the task asks: the gradient falls as .985 a
    step instead of .64 at T = 100 (measured, H = 128).

Safety
    Unsafe: the network starts as another one; trained weights are lost.

Known limits
    It treats ``closed_gates``. It does not treat a recurrence without gates, nor inputs that close
    the gates again. Needs an idea of T; an order of magnitude is enough. Torch has two biases a
    gate: set their sum.

References
    Tallec and Ollivier 2018, https://arxiv.org/abs/1804.11188.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetGateBias
from .._messages import _
from .._types import Diagnosis
from ._where import lag_needed, named, places


@final
class ChronoInitialize(AbstractRemedy):
    """Spreads the gates over time scales."""

    code: ClassVar[str] = "RX031"
    name: ClassVar[str] = "chrono-initialize"
    treats: ClassVar[frozenset[str]] = frozenset({"closed_gates"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialise the gates for the lag of the task (chrono)")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        horizon = max(round(lag_needed(diagnosis)), 3)
        return (SetGateBias(horizon=horizon, paths=places(diagnosis, self.treats)),)


REMEDY = ChronoInitialize()

"""Let the output read earlier states directly.

What it changes
    What is read of the sequence: an attention over all states, or their mean, instead of the last.

Why it helps
    The gradient then reaches every step over a path of length one, whatever the recurrence does.

Safety
    Advice: another architecture.

Known limits
    It treats ``closed_gates`` and ``recurrent_contraction``. It does not treat the recurrence
    itself, whose states stay short of memory. Takes memory and time in proportion to the length of
    the sequence. A mean dilutes a single step of a long sequence; an attention finds it.

References
    Bahdanau, Cho and Bengio 2015, https://arxiv.org/abs/1409.0473.
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
class AttendToStates(AbstractRemedy):
    """Gives the output a short path to every step."""

    code: ClassVar[str] = "RX035"
    name: ClassVar[str] = "attend-to-states"
    treats: ClassVar[frozenset[str]] = frozenset({"recurrent_contraction", "closed_gates"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Read all states, by attention, not only the last")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Read all states, by attention or as their mean, instead of the last one.")
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = AttendToStates()

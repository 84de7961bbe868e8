"""Cut backpropagation through time later.

What it changes
    The number of steps between two ``detach``, or the length of the sequences, to the lag that is
    needed or more.

Why it helps
    A gradient that is cut after k steps teaches nothing about what lies farther back.

Safety
    Advice: memory and time of a step grow with the number of steps.

Known limits
    It treats ``truncated_backpropagation``. It does not treat a gradient that fades before it
    reaches the cut. A gradient that flows further may fade, or grow, before it arrives. Then the
    gates or the recurrent matrix are next.

References
    Williams and Peng 1990. Tallec and Ollivier 2017, https://arxiv.org/abs/1705.08209.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import lag_needed, named, places


@final
class BackpropagateFurther(AbstractRemedy):
    """Lengthens the truncation."""

    code: ClassVar[str] = "RX034"
    name: ClassVar[str] = "backpropagate-further"
    treats: ClassVar[frozenset[str]] = frozenset({"truncated_backpropagation"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Backpropagate through more time steps")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        action = _(
            "Detach the state every {steps} steps or later, and make the sequences as long."
        ).format(steps=f"{lag_needed(diagnosis):.0f}")
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = BackpropagateFurther()

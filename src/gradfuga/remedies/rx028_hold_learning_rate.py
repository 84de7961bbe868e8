"""Keep the learning rate where it starts.

What it changes
    Whatever schedule the script steps, the optimizer keeps the rate that it was built with.

Why it helps
    A schedule of epochs that is stepped with every batch takes the rate away before anything is
    learned; without it the weights go on moving to the end.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``learning_rate_too_low``. It is the cure of a schedule that is out of step, not a
    good schedule: one with the length of the run may end lower. It does not treat a rate that is
    too low from the start.

References
    https://docs.pytorch.org/docs/stable/optim.html (how to adjust the learning rate).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, HoldRate, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class HoldLearningRate(AbstractRemedy):
    """Takes the schedule away."""

    code: ClassVar[str] = "RX028"
    name: ClassVar[str] = "hold-learning-rate"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_low"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Hold the learning rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit where a schedule holds the rate at zero."""
        if not named(diagnosis, self.treats):
            return ()
        if not evidence_of(diagnosis, "learning_rate_too_low", "rate_time"):
            return ()
        return (HoldRate(),)


REMEDY = HoldLearningRate()

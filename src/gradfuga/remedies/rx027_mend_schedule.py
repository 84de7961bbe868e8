"""Give the schedule the length of the run.

What it changes
    The schedule's length is counted in the same unit in which it is stepped: batches where
    `scheduler.step()` is called after every batch, epochs where it is called after every epoch.

Why it helps
    The rate stays where the weights move until the run is over.

Safety
    Advice: only the schedule changes.

Known limits
    It treats ``learning_rate_too_low``. It does not treat a rate that is too low where no schedule
    is. A warm-up that starts from zero needs its scheduler stepped before it leaves zero.

References
    https://docs.pytorch.org/docs/stable/optim.html (how to adjust the learning rate).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class MendSchedule(AbstractRemedy):
    """Gives the schedule the length of the run."""

    code: ClassVar[str] = "RX027"
    name: ClassVar[str] = "mend-schedule"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_low"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Mend the learning rate's schedule")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits where a schedule holds the rate at zero."""
        if not named(diagnosis, self.treats):
            return ()
        if not evidence_of(diagnosis, "learning_rate_too_low", "rate_time"):
            return ()
        action = _("Count the schedule's length in the unit in which it is stepped: {code}").format(
            code="CosineAnnealingLR(optimizer, T_max=epochs * len(loader))"
        )
        printed = _("Print {code} now and then; it should not be zero before the end.").format(
            code="scheduler.get_last_lr()"
        )
        return (Advise(action), Advise(printed))


REMEDY = MendSchedule()

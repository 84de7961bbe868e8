"""Let the learning rate rise over the first steps.

What it changes
    The learning rate rises in a line over the first tenth of the steps, ten at least.

Why it helps
    The first gradients are the least trustworthy: an adaptive optimizer has no second moment
    yet, and a fresh network is at its most curved. Post-norm transformers need it.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``learning_rate_too_high``. It does not treat a rate that is too high for the rest of
    the run, nor units that have died.

References
    Goyal et al. 2017, https://arxiv.org/abs/1706.02677. Liu et al. 2020,
    https://arxiv.org/abs/1908.03265.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, WarmUp
from .._messages import _
from .._types import Diagnosis
from ._where import named

_TENTH = 10  # of the run; the usual 1 to 10 %
_LEAST = 10  # steps; chosen


@final
class WarmUpRate(AbstractRemedy):
    """Raises the rate slowly."""

    code: ClassVar[str] = "RX052"
    name: ClassVar[str] = "warm-up"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_high"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Warm the learning rate up")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        return (WarmUp(max(diagnosis.run.steps // _TENTH, _LEAST)),)


REMEDY = WarmUpRate()

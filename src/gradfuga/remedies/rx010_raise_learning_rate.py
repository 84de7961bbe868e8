"""Take longer steps.

What it changes
    The learning rate is raised until the weights can turn over once in the run.

Why it helps
    A network leaves chance after its weights have moved by a third to two thirds of their size.
    At the pace that was seen, this rate gets there within the run.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``learning_rate_too_low``. The rate is worked out for steps in one direction, so take
    it as an order of magnitude. It does not treat a vanished gradient: the layers near the output
    would overshoot long before the first ones move.

References
    Smith 2017, https://arxiv.org/abs/1506.01186 (range test). docs/how-it-judges.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetOptimizer
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named

_FACTOR = 10.0  # one decade, the step of the usual search
_WHOLE_TURNOVER = 100.0  # the evidence names the rate for a hundredth of a turnover


@final
class RaiseLearningRate(AbstractRemedy):
    """Lengthens the steps."""

    code: ClassVar[str] = "RX010"
    name: ClassVar[str] = "raise-learning-rate"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_low"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Raise the learning rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit with the rate that the run needs."""
        if not named(diagnosis, self.treats) or _otherwise(diagnosis):
            return ()
        rates = evidence_of(diagnosis, "learning_rate_too_low", "learning_rate")
        expected = [each.expected * _WHOLE_TURNOVER for each in rates if each.expected > 0.0]
        if not expected:
            return (SetOptimizer("lr", _FACTOR, relative=True),)
        return (SetOptimizer("lr", float(f"{expected[0]:.0e}")),)


def _otherwise(diagnosis: Diagnosis) -> bool:
    """Whether the steps are short for a reason that a higher rate does not mend."""
    return any(
        evidence_of(diagnosis, "learning_rate_too_low", statistic)
        for statistic in ("adagrad_share", "rate_time")
    )


REMEDY = RaiseLearningRate()

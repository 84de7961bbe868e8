"""Steps so short that no weight gets anywhere in the run.

What it finds
    In a network that learns nothing: a best fed layer whose weights move by less than a hundredth
    of their size over the whole run, although they have a gradient, and neither clipping nor
    Adam's epsilon nor a vanished gradient is what makes the steps short.

Why it matters
    A network learns something only after its weights have moved by a good part of their size.
    A slip of the exponent in the learning rate looks exactly like a vanished gradient to anybody
    who reads update sizes.

Evidence
    ``feed`` of the best fed layer, its largest update ratio times the number of steps, against
    a hundredth; and the learning rate.

Known limits
    A run that was only started for a few steps looks the same, hence at least 20 are asked for.
    A warm-up that has not ended is not told from a low rate.

References
    docs/how-it-judges.md: a learning rate of 1e-8, clipping at 1e-5 and the like feed
    1e-5 to 3e-3. Karpathy, CS231n notes (update ratios about 1e-3 per step).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._feed import best_fed
from ._held import FEWEST_SAMPLES, FROZEN_SHARE, frozen, unreached
from ._progress import learns_nothing
from ._reach import at_start, lowest
from ._short_steps import attenuation, clip_coefficient, wiped_steps
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class LearningRateTooLow(AbstractRule):
    """Blames steps that are too short."""

    code: ClassVar[str] = "OPT002"
    name: ClassVar[str] = "learning-rate-too-low"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "learning_rate_too_low"

    fed: float = 0.01  # turnovers over the run (decision rule)
    beyond: float = 2.5  # decades of reach that no learning rate brings back (severity scale)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the optimizer."""
        from ..analysis.conditions import path_starves_all  # noqa: PLC0415 (numpy)
        from ..analysis.tolls import held_back  # noqa: PLC0415

        best = best_fed(case)
        if best is None or case.total_steps < self.fewest_steps or wiped_steps(case):
            return ()
        if not learns_nothing(case):
            return ()
        if best.feed >= self.fed or not _has_gradient(case) or _held_back(case):
            return ()
        if lowest(at_start(case)) < -self.beyond and path_starves_all(case):
            return ()
        if held_back(case) is not None:
            return ()
        # what clipping or epsilon take away is not the learning rate's fault
        if best.feed / min(clip_coefficient(case), attenuation(case)) >= self.fed:
            return ()
        rate = case.record.settings.get("lr", math.nan)
        message = _(
            "At a learning rate of {rate} no weight gets anywhere: in {steps} steps even '{layer}'"
            ", which moves most, changes by {feed} of its size."
        ).format(
            rate=plain(rate) if math.isfinite(rate) else "?",
            steps=case.total_steps,
            layer=best.path,
            feed=plain(best.feed),
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=(best.path,),
                evidence=(
                    Evidence(best.path, Kind.UPDATE, "feed", case.steps[-1], best.feed, self.fed),
                    Evidence(
                        "optimizer",
                        Kind.UPDATE,
                        "learning_rate",
                        case.steps[-1],
                        rate,
                        rate * self.fed / best.feed if best.feed > 0.0 else math.nan,
                    ),
                ),
            ),
        )


def _has_gradient(case: Case) -> bool:
    for layer in case.layers:
        values = case.readings.series(layer.weight, Kind.WEIGHT_GRAD, "norm")[1].tolist()
        if any(value > 0.0 for value in values):
            return True
    return False


def _held_back(case: Case) -> bool:
    """Whether most weights do not move because they are frozen or out of the loss's reach."""
    cut = unreached(case)
    lost = len(case.steps) >= FEWEST_SAMPLES and cut.of > 0 and len(cut.paths) == cut.of
    return lost or frozen(case).share > FROZEN_SHARE


RULE = LearningRateTooLow()

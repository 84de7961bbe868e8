"""Steps so long that they destroy what they should improve.

What it finds
    In a network that was sound at the first step and learns nothing: a loss or gradient that
    became NaN or infinite; a loss that ends worse than both where it began and twice the best
    constant's; whole layers before the last one that were alive and died in a training with
    steps that moved some weight by half of its size; or a loss that jumped tenfold at the
    beginning while a single step did so. In a network that learns far less than its data permits:
    layers of which nine units in ten died in such a training.

Why it matters
    Beyond twice the inverse of the curvature, a step leads uphill, and the next one farther
    uphill. ReLUs that it pushes below zero for every example do not come back.

Evidence
    What happened to the loss, and the largest ``update_ratio`` of a single step against one half.

Known limits
    A wild first step alone is normal. A loss that diverges because gradients are never zeroed or
    because the data hold NaN is left to those rules, and one that breaks from one step to the next
    without having grown is blamed on nothing. Targets of a huge scale make every
    learning rate too high; target-scale says so.

References
    LeCun et al. 1998, Efficient BackProp. Cohen et al. 2021, https://arxiv.org/abs/2103.00065
    (edge of stability).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._dead import dead
from ._feed import best_fed, largest_ratio
from ._progress import learns_nothing
from ._raw_inputs import raw_inputs
from ._reach import at_start, highest, lowest
from ._stale import never_zeroed
from ._words import plain, quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class LearningRateTooHigh(AbstractRule):
    """Blames steps that are too long."""

    code: ClassVar[str] = "OPT001"
    name: ClassVar[str] = "learning-rate-too-high"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "learning_rate_too_high"

    limit: float = 1.30  # decades of reach at the start; beyond, the path explodes by itself
    worse: float = -1.0  # progress: the loss is twice the best constant's (decision rule)
    violent: float = 0.5  # of a weight's size in one step; .4 in a first step is normal (measured)
    jump: float = 10.0  # times the first loss and the best constant's (chosen: one order)
    moved: float = 1.0  # turnovers over the run: steps that led astray have led somewhere (chosen)
    early: float = 0.1  # of the run, in which such a jump counts (chosen)
    fewest_early: int = 10  # losses (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the first of the signs that is there."""
        from ..analysis.breakage import (  # noqa: PLC0415 (numpy)
            broke_suddenly,
            broken_data,
            nonfinite_step,
        )
        from ..analysis.conditions import grew_dead, lost_units  # noqa: PLC0415 (numpy)

        sound = highest(at_start(case)) <= self.limit
        if not sound or broken_data(case) is not None or never_zeroed(case):
            return ()
        broken = nonfinite_step(case)
        if broken is not None and broke_suddenly(case):
            return ()  # steps that are too long announce themselves
        if broken is not None and lowest(at_start(case)) < -self.limit:
            return ()  # what makes it small there may be what has broken
        if broken is not None:
            message = _(
                "The gradient's path was sound at the start, and the steps (learning rate {rate}) "
                "carried the weights away until the numbers broke at step {step}."
            )
            return (self._finding(case, message, step=broken),)
        few_left = lost_units(case) if case.progress.poor and self._violent(case) else ()
        if few_left:
            message = _(
                "Nine units in ten of {layers}, or more, worked at the first step and are dead in "
                "the end: the steps (learning rate {rate}) pushed them out of reach."
            )
            return (self._finding(case, message, paths=few_left),)
        if not learns_nothing(case) or not self._led_somewhere(case):
            return ()
        killed = dead(case, saturated=False, at_output=False) if grew_dead(case) else None
        peak = self._peak(case)
        if killed is not None and (peak is not None or self._violent(case)):
            message = _(
                "The units of {layers} worked at the first step and are dead at the last: the "
                "steps (learning rate {rate}) pushed them out of reach."
            )
            return (self._finding(case, message, paths=killed.paths),)
        first, last = case.progress.first, case.progress.last
        if first is not None and last is not None and case.progress.u < self.worse and last > first:
            message = _(
                "The loss rose from {first} to {last}, worse than a constant prediction: the steps "
                "(learning rate {rate}) are too long."
            )
            return (self._finding(case, message),)
        if peak is not None:
            message = _(
                "In its first steps the loss jumped from {first} to {peak}, and single steps moved "
                "the weights by {ratio} of their size (learning rate {rate}); the network has not "
                "recovered."
            )
            return (self._finding(case, message, peak=peak),)
        return ()

    def _violent(self, case: Case) -> bool:
        """Whether a single step moved some weight by half of its size."""
        return largest_ratio(case)[2] > self.violent

    def _led_somewhere(self, case: Case) -> bool:
        """Whether the steps were long enough to lead astray."""
        best = best_fed(case)
        return best is None or best.feed >= self.moved

    def _peak(self, case: Case) -> float | None:
        """Return the height of an early jump of the loss, None where there was none."""
        steps, losses = case.readings.losses
        count = max(self.fewest_early, round(self.early * losses.size))
        early = losses[1 : count + 1].tolist()
        first = case.progress.first
        if not early or first is None:
            return None
        peak = max(early)
        until = float(steps[min(count, steps.size - 1)]) + 1.0
        violent = largest_ratio(case, before=until)[2] > self.violent
        level = max(first, case.progress.baseline)
        return peak if violent and peak > self.jump * level else None

    def _finding(
        self,
        case: Case,
        message: str,
        *,
        step: int = 0,
        paths: tuple[str, ...] = (),
        peak: float = math.nan,
    ) -> Finding:
        path, when, ratio = largest_ratio(case)
        progress = case.progress
        first = progress.first if progress.first is not None else math.nan
        last = progress.last if progress.last is not None else math.nan
        rate = case.record.settings.get("lr", math.nan)
        evidence = [Evidence(path, Kind.UPDATE, "update_ratio", when, ratio, self.violent)] * bool(
            path
        )
        end = step or case.total_steps
        seen = peak if math.isfinite(peak) else last
        evidence.append(Evidence("loss", Kind.LOSS, "value", end, seen, first))
        text = message.format(
            rate=plain(rate) if math.isfinite(rate) else "?",
            step=step,
            first=plain(first),
            last=plain(last),
            peak=plain(peak),
            ratio=plain(ratio),
            layers=quoted(paths),
        )
        raw = raw_inputs(case, case.steps[0])
        if raw is not None:
            evidence.append(raw)
            text += " " + _(
                "What goes into '{layer}', the first layer, is of size {size}: of standardized "
                "data a step of this rate would be shorter."
            ).format(layer=raw.path, size=plain(raw.observed))
        return self.finding(
            severity=Severity.SERIOUS,
            message=text,
            paths=paths[:8],
            source=case.source_of(paths),
            evidence=tuple(evidence),
        )


RULE = LearningRateTooHigh()

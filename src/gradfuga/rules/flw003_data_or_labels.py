"""Inputs that say nothing about the targets.

What it finds
    Inputs or targets that hold NaN or infinite values when the loss breaks, or inputs that are the
    same for every example of every batch looked at. And, as a note that accuses nobody: a network
    that is known to have made less than a hundredth of the way although its weights move, its
    gradient arrives everywhere and no other cause is in sight, on batches from which a plain
    reference learner is known to find next to nothing either.

Why it matters
    Shuffled labels, a broken input pipeline and a wrong column look like a stubborn network. The
    optimizer can be tuned for days against a task that is not there.

Evidence
    ``nonfinite`` or ``varying``, the number of values that are not finite, or that differ from the
    first example's. For the note ``reference``, the progress that the reference learner
    makes on held-out examples of the same batches, and twice its standard error, against 0.05;
    ``progress_at_most``, the largest progress of the network that the noise allows for, against
    0.01.

Known limits
    Shuffled labels cannot be told from a signal too weak for both learners, nor from a task that
    only a deep network can learn and whose plateau the run has not left: of 60 healthy trainings
    of such tasks in two seeds each, 22 were bound below .005 of the way when they ended.
    Memorised labels of a small set are not told from learned ones.

References
    Zhang et al. 2017, https://arxiv.org/abs/1611.03530 (networks and random labels).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._decay import decay_wins
from ._feed import best_fed
from ._held import FROZEN_SHARE, UNREACHED_SHARE, frozen, unreached
from ._progress import learns_nothing
from ._reach import at_start, highest, lowest, over_late
from ._stale import never_zeroed
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.breakage import BrokenData
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class DataOrLabels(AbstractRule):
    """Blames data that is known to be at fault; asks about it where nothing else is left."""

    code: ClassVar[str] = "FLW003"
    name: ClassVar[str] = "data-or-labels"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "data_or_labels"

    found: float = 0.05  # progress of the reference: as little as memorising gets (decision rule)
    nothing: float = 0.01  # progress that could not be told from none (chosen)
    fed: float = 0.01  # turnovers over the run (decision rule)
    limit: float = 1.30  # decades of reach: six depth scales (Schoenholz et al. 2017)
    worse: float = -1.0  # progress below which the optimizer is at fault (decision rule)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the data."""
        from ..analysis.breakage import broken_data, nonfinite_step  # noqa: PLC0415 (numpy)
        from ..analysis.conditions import constant_inputs  # noqa: PLC0415 (numpy)

        data = broken_data(case)
        if data is not None:
            return (self._broken(data),)
        if constant_inputs(case):
            return (self._constant(case),)
        if nonfinite_step(case) is not None or not learns_nothing(case):
            return ()
        progress = case.progress
        found = progress.reference + 2.0 * progress.reference_error
        if not found < self.found or progress.lags:
            return ()
        if case.total_steps < self.fewest_steps:
            return ()
        if progress.u < self.worse or not self._flows(case) or self._otherwise(case):
            return ()
        message = _(
            "The weights move and the gradient reaches every layer, yet nothing is learned; a "
            "plain reference learner finds nothing in these batches either (progress {found}). By "
            "exclusion, look at the data: are inputs and targets still in step?"
        ).format(found=plain(progress.reference))
        step = case.steps[-1]
        return (
            self._finding(
                message,
                Evidence("loss", Kind.LOSS, "reference", step, progress.reference, self.found),
                Evidence("loss", Kind.LOSS, "progress_at_most", step, progress.most, self.nothing),
                known=False,
            ),
        )

    def _flows(self, case: Case) -> bool:
        """Whether the gradient arrives, at the start and at the end, and no layer is dead."""
        start, late = at_start(case), over_late(case)
        if not start or any(case.dead_layers):
            return False
        sound = highest(start) <= self.limit and lowest(start) >= -self.limit
        return sound and lowest(late) >= -self.limit

    def _otherwise(self, case: Case) -> bool:
        """Whether another cause is in sight."""
        best = best_fed(case)
        hungry = best is None or best.feed < self.fed
        cut = unreached(case).share >= UNREACHED_SHARE or frozen(case).share > FROZEN_SHARE
        return hungry or cut or never_zeroed(case) or bool(decay_wins(case))

    def _broken(self, data: BrokenData) -> Finding:
        texts = {
            "input": _(
                "The data that goes into the model holds NaN or infinite values at step {step}."
            ),
            "target": _("The targets hold NaN or infinite values at step {step}."),
        }
        # seen where it entered the graph: nothing there tells data from targets
        text = texts.get(
            data.path,
            _("Data or targets that enter '{path}' hold NaN or infinite values at step {step}."),
        )
        return self._finding(
            text.format(step=data.step, path=data.path),
            Evidence(data.path, data.kind, "nonfinite", data.step, data.count, 0.0),
        )

    def _constant(self, case: Case) -> Finding:
        steps = case.readings.series("input", Kind.ACTIVATION, "varying")[0]
        message = _(
            "What goes into the model is the same for every example, in each of {count} batches: "
            "is it all zeros, or one example repeated?"
        )
        empty = case.readings.series("input", Kind.ACTIVATION, "empty")[1]
        if empty.size and empty.all():
            message = _(
                "What goes into the model holds no value at all, in each of {count} batches: is a "
                "slice of the sequences empty?"
            )
        message = message.format(count=steps.size)
        last = int(steps[-1])
        return self._finding(message, Evidence("input", Kind.ACTIVATION, "varying", last, 0.0, 1.0))

    def _finding(self, message: str, *evidence: Evidence, known: bool = True) -> Finding:
        return self.finding(
            severity=Severity.SERIOUS, message=message, evidence=evidence, accuses=known
        )


RULE = DataOrLabels()

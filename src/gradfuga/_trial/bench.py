"""Run arms, in parallel, within a budget of time, and count what they cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import final

from .._messages import _
from ..experiment import Arm, ArmKind, Treatment, TrialRun
from .request import Request
from .workers import AbstractPool

UNTREATED = Treatment("", kind=ArmKind.UNTREATED)
_PATIENCE = 4.0  # chosen: times the time that a run should take before it is given up
_LEAST_PATIENCE = 60.0  # seconds; a busy machine can be much slower than it was


@final
class Bench:
    """Where the arms of one trial run.

    Args:
        pool: where processes run.
        like: a request whose treatment, seed and steps are replaced.
        deadline: `time.monotonic` after which nothing new is begun, None for never.
        tell: is told what has come back.
        most_steps: optimizer steps in all after which nothing new is begun, None for no limit.
    """

    def __init__(
        self,
        pool: AbstractPool,
        like: Request,
        *,
        deadline: float | None,
        tell: Callable[[str], None],
        most_steps: int | None = None,
    ) -> None:
        self._pool, self._like, self._tell = pool, like, tell
        self.deadline, self._most_steps = deadline, most_steps
        self.run_seconds = 0.0  # what one training should take
        self.steps = 0
        self.runs = 0
        self._known: dict[tuple[Treatment, int], TrialRun] = {}

    @property
    def late(self) -> bool:
        """Whether the time, or the steps, are used up."""
        if self._most_steps is not None and self.steps >= self._most_steps:
            return True
        return self.deadline is not None and time.monotonic() > self.deadline

    def arms(
        self,
        treatments: Sequence[Treatment],
        seeds: Sequence[int],
        steps: int,
        *,
        hurdle: int = 0,
        gated: bool = False,
    ) -> list[Arm]:
        """Run every treatment with every seed for `steps`; what has run already is taken again.

        With a `hurdle`, those that have learned nothing by that step end there; if `gated`, those
        whose reach leaves the limit end at their first step. Runs that the
        time does not allow any more are left out: an arm may come back with fewer seeds, or none.
        The seeds come before the treatments, so that all arms have the same.
        """
        least = 1 if gated else hurdle or steps
        waiting: dict[Future[TrialRun], tuple[Treatment, int]] = {}
        for seed in seeds:
            for treatment in treatments:
                known = self._known.get((treatment, seed))
                if known is None or not _has_run(known, least):
                    request = dataclasses.replace(
                        self._like,
                        treatment=treatment,
                        seed=seed,
                        steps=steps,
                        seconds=None,
                        patience=self._patience(),
                        record="",
                        hurdle=hurdle,
                        gated=gated,
                    )
                    waiting[self._pool.submit(request)] = (treatment, seed)
        self._gather(waiting)
        return [self.arm(treatment, seeds, least) for treatment in treatments]

    def arm(self, treatment: Treatment, seeds: Sequence[int], steps: int) -> Arm:
        """Return what is known of a treatment after at least `steps`."""
        runs = [self._known.get((treatment, seed)) for seed in seeds]
        kept = tuple(run for run in runs if run is not None and _has_run(run, steps))
        return Arm(treatment, kept)

    @property
    def tried(self) -> list[Arm]:
        """Every arm that was trained, with all its longest runs, in the order of their starts.

        What ran for one step only was measured, not trained; `measured` counts these.
        """
        grouped: dict[Treatment, list[TrialRun]] = {}
        for (treatment, _seed), run in self._known.items():
            grouped.setdefault(treatment, []).append(run)
        arms = []
        for treatment, runs in grouped.items():
            longest = max(run.steps for run in runs)
            if longest == 1 != self._like.steps and not any(run.failed for run in runs):
                continue
            kept = [run for run in runs if run.failed or run.steps == longest or run.ended]
            arms.append(Arm(treatment, tuple(sorted(kept, key=lambda run: run.seed))))
        return arms

    @property
    def measured(self) -> int:
        """How many treatments were measured on one batch and not trained with."""
        return len({treatment for treatment, _seed in self._known}) - len(self.tried)

    def _patience(self) -> float:
        expected = max(_LEAST_PATIENCE, _PATIENCE * self.run_seconds)
        if self.deadline is None:
            return expected
        return max(_LEAST_PATIENCE, min(expected, self.deadline - time.monotonic()))

    def _gather(self, waiting: dict[Future[TrialRun], tuple[Treatment, int]]) -> None:
        left = set(waiting)
        while left:
            done, left = wait(left, timeout=0.5)
            for future in done:
                treatment, seed = waiting[future]
                self._take(treatment, seed, future.result())
            if self.late:
                for future in list(left):
                    if future.cancel():  # what has begun may end
                        left.discard(future)

    def _take(self, treatment: Treatment, seed: int, run: TrialRun) -> None:
        self._known[treatment, seed] = run
        self.steps += run.steps
        self.runs += 1
        name = treatment.title or _("untreated")
        if run.steps == 1 and not run.failed:
            return  # what is measured before any training is told together
        if run.failed:
            self._tell(_("{name}, seed {seed}: failed ({why})").format(
                name=name, seed=seed, why=run.failed))  # fmt: skip
        else:
            self._tell(_("{name}, seed {seed}: loss {loss:.4g} after {steps} steps").format(
                name=name, seed=seed, loss=run.loss, steps=run.steps))  # fmt: skip


def _has_run(run: TrialRun, steps: int) -> bool:
    return run.steps >= steps or run.ended or bool(run.failed)

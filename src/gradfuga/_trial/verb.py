"""Trial: observe a script, diagnose it, try treatments on it, and say which one is proven."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .._diagnose import diagnose
from .._errors import TrialError
from .._messages import _, _n
from .._types import Diagnosis, Verdict
from ..analysis.progress import measure_progress
from ..experiment import Arm, ArmKind, Treatment, Trial, TrialRun
from ..flow import FlowGraph
from ..readings import MANIFEST, Readings
from .bench import Bench
from .budget import DEFAULT, FEWEST_STEPS, OBSERVED, Budget, plan
from .candidates import treatments_for
from .controls import Controls, Held
from .decision import compare, promising
from .patching import Made, SourcePatch, demand_libcst, patches
from .reasons import limits, too_small, why_interrupted, why_nothing
from .reproduction import Reproduction, reproduce, unrun
from .request import Request
from .scratch import Place
from .search import Search
from .workers import AbstractPool, LocalPool

_OPEN_ENDED = 3600.0  # seconds that the observed run of a step budget may take


def trial(
    script: str | os.PathLike[str],
    arguments: Sequence[str] = (),
    *,
    budget: str = DEFAULT,
    seeds: int | None = None,
    jobs: int | None = None,
    treatments: Sequence[Treatment] | None = None,
    pool: AbstractPool | None = None,
    patch: bool = True,
    tell: Callable[[str], None] = lambda _text: None,
) -> Trial:
    """Try treatments on a training script, against the script as it is, seed by seed.

    The script runs many times, in child processes, each in a scratch copy of its folder and for a
    slice of its steps. Nothing of the user's is changed: the change of the source that makes the
    proven treatment permanent is returned as a diff, once the patched source has run as well.

    Args:
        script: path of the script.
        arguments: its command line.
        budget: ``"5min"`` for everything, or ``"300steps"`` for each training.
        seeds: pairs that decide; as many as the budget allows, at most 5, where left out.
        jobs: processes side by side; as many as the pool has room for, where left out.
        treatments: what to try; what `prescribe` finds for the diagnosis where left out.
        pool: where the processes run; on this machine where left out.
        patch: write the winner into the source, and run that.
        tell: is told each result as it comes.

    Returns:
        The trial. A script that learns is left alone; that no treatment helped is a result, with
        its reason.

    Raises:
        UsageError: an argument cannot be meant.
        TrialError: the untreated script does not run, or does not train.
        MissingExtraError: `patch` needs LibCST, which is not installed.
    """
    if patch:
        demand_libcst()
    allowed = Budget.read(budget)
    place = Place.of(os.fspath(script), Path.cwd())
    own_pool = pool is None
    pool = LocalPool(jobs or os.cpu_count() or 1) if pool is None else pool
    try:
        return _Course(
            place,
            tuple(arguments),
            allowed,
            seeds=seeds,
            jobs=jobs or pool.jobs,
            pool=pool,
            patch=patch,
            tell=tell,
        ).run(treatments)
    finally:
        if own_pool:
            pool.close()


class _Course:
    """One trial, from the untreated run to the decision."""

    def __init__(
        self,
        place: Place,
        arguments: tuple[str, ...],
        budget: Budget,
        *,
        seeds: int | None,
        jobs: int,
        pool: AbstractPool,
        patch: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._place, self._arguments, self._budget = place, arguments, budget
        self._seeds, self._jobs, self._pool, self._tell = seeds, jobs, pool, tell
        self._started = time.monotonic()
        self._notes: list[str] = []
        self._first = TrialRun(0)
        self._trainings: tuple[Readings, ...] = ()
        self._diagnosis: Diagnosis | None = None
        self._training = 0  # the place of the one that is judged
        self._bench: Bench | None = None
        self._steps = 0
        self._winner: Arm | None = None
        self._held: Held | None = None
        self._wanted = patch
        self._made: Made = {}
        self._change: Reproduction | None = None

    def run(self, treatments: Sequence[Treatment] | None) -> Trial:
        """Go through with it."""
        try:
            diagnosis, interrupted = self._observe()
        except KeyboardInterrupt:
            self._pool.close()
            self._diagnosis, interrupted = diagnose(()), True
        if interrupted:
            ended = self._end(False, _("Interrupted while the script was observed."))
            return replace(ended, interrupted=True)
        if diagnosis.verdict is Verdict.HEALTHY:
            return self._end(False, _("The script learns: it is left alone."))
        if not self._first.ended and self._first.steps < FEWEST_STEPS:
            return self._end(False, too_small(self._first, self._first.steps))
        if diagnosis.verdict is Verdict.INCONCLUSIVE:
            why = diagnosis.inconclusive_because or diagnosis.summary
            return self._end(False, _("There is no verdict, so nothing is treated: {why}")
                             .format(why=why))  # fmt: skip
        given = treatments if treatments is not None else treatments_for(diagnosis)
        candidates = [self._marked(each) for each in given]
        if not candidates:
            return self._end(False, _("No remedy for this can be applied by gradfuga."))
        try:
            return self._try(candidates)
        except KeyboardInterrupt:
            self._pool.close()
            held = self._held
            if held is None:
                ended = self._end(False, why_interrupted(self._winner))
            else:  # all is known but whether the patched source does as well
                ended = self._end(held.proven, held.because)
            return replace(ended, interrupted=True)

    # -- the untreated run -----------------------------------------------------------------

    def _observe(self) -> tuple[Diagnosis, bool]:
        """Run the untreated script, read closely.

        Returns:
            Its diagnosis, and whether Ctrl-C came before its end: then of what was seen.
        """
        self._tell(_("The script as it is, observed ..."))
        whole = self._budget.seconds
        with TemporaryDirectory(prefix="gradfuga-observed-") as folder:
            running = self._pool.submit(
                Request(
                    place=self._place,
                    arguments=self._arguments,
                    treatment=None,
                    seed=0,
                    steps=self._budget.steps,
                    seconds=None if whole is None else OBSERVED * whole,
                    patience=_OPEN_ENDED if whole is None else 0.5 * whole,
                    record=folder,
                )
            )
            interrupted = False
            try:
                run = running.result()
            except KeyboardInterrupt:
                interrupted = True
                self._pool.close()  # after the run's last words
                run = TrialRun(0) if running.cancelled() else running.result()
            if run.failed and not interrupted:
                raise TrialError(
                    _("expected a script that trains"),
                    _("got a run that ended with: {why}").format(why=run.failed),
                    _(
                        "See that it runs by itself, give its arguments after its name, and a "
                        "--budget that is long enough for it to begin."
                    ),
                )
            parts = sorted(Path(folder).glob("[0-9]*"), key=lambda part: int(part.name))
            parts = [part for part in parts if (part / MANIFEST).exists()] if run.copy else []
            trainings = [Readings.open(part) for part in parts]
            for readings in trainings:
                readings.graph = readings.graph.moved(run.copy, str(self._place.root))
            self._first, self._trainings = run, tuple(trainings)
            if not interrupted:
                self._pool.prepare(run.modules)
            self._diagnosis = diagnose(trainings)
        self._training = _judged(self._diagnosis, trainings)
        return self._diagnosis, interrupted

    # -- the treatments --------------------------------------------------------------------

    def _try(self, candidates: list[Treatment]) -> Trial:
        first, budget = self._first, self._budget
        deadline = None if budget.seconds is None else self._started + budget.seconds
        left = 0.0 if deadline is None else deadline - time.monotonic()
        laid = plan(
            budget,
            left=left,
            jobs=self._jobs,
            seeds=self._seeds,
            candidates=len(candidates),
            startup_seconds=first.startup_seconds,
            step_seconds=first.step_seconds,
            length=first.steps,
        )
        self._steps = laid.steps
        if laid.steps < min(FEWEST_STEPS, first.steps):
            return self._end(False, too_small(first, laid.steps))
        request = Request(
            place=self._place,
            arguments=self._arguments,
            treatment=None,
            seed=0,
            steps=laid.steps,
            seconds=None,
            patience=0.0,
            training=self._training,
            model=self._diagnosis.model if self._diagnosis is not None else "",
        )
        self._bench = bench = Bench(self._pool, request, deadline=deadline, tell=self._tell)
        bench.run_seconds = first.startup_seconds + laid.steps * first.step_seconds
        seeds = range(laid.seeds)
        self._tell(
            _("{count} treatments, {seeds} seeds, {steps} steps for each training").format(
                count=laid.candidates, seeds=laid.seeds, steps=laid.steps
            )
        )
        found = Search(
            bench=bench,
            steps=laid.steps,
            hurdle=laid.hurdle,
            seeds=seeds,
            most=laid.candidates,
            abreast=self._jobs,
            permitted=measure_progress(self._trainings[self._training]).reference,
        ).among(candidates)
        self._notes += limits(first, found.untreated)
        self._winner = found.winner
        if self._winner is None:
            return self._end(False, why_nothing(found.untreated, found.standing, late=bench.late))
        self._held = held = Controls(
            bench=bench,
            untreated=found.untreated,
            candidates=candidates,
            seeds=seeds,
            steps=laid.steps,
            longer=not first.ended or laid.steps < first.steps,
        ).hold(self._winner)
        self._winner = held.winner
        self._notes += held.notes
        if self._wanted:
            self._change = reproduce(
                bench,
                self._ways(held.winner.treatment),
                self._place,
                untreated=found.untreated,
                treated=held.winner,
                seeds=seeds,
                steps=laid.steps,
            )
        return self._end(held.proven, held.because, untreated=found.untreated)

    # -- the source ------------------------------------------------------------------------

    def _ways(self, treatment: Treatment) -> Iterator[SourcePatch]:
        """Yield the ways to write a treatment into the source, each worked out when asked for."""
        trainings, judged = self._trainings, self._training
        graph = trainings[judged].graph if trainings else FlowGraph()
        return patches(treatment, self._place, self._first.files, graph, made=self._made)

    def _marked(self, treatment: Treatment) -> Treatment:
        """Return a treatment that knows whether the source can be changed for all of it."""
        if not self._wanted:
            return treatment
        first = next(self._ways(treatment))
        return replace(treatment, lasting=bool(first.diff) and not first.unplaced)

    # -- the end -----------------------------------------------------------------------

    def _end(
        self,
        proven: bool,
        because: str,
        *,
        untreated: Arm | None = None,
    ) -> Trial:
        bench, diagnosis = self._bench, self._diagnosis
        assert diagnosis is not None
        known = [] if bench is None else bench.tried
        plain = [arm for arm in known if arm.treatment.kind is ArmKind.UNTREATED]
        untreated = untreated or (plain[0] if plain else None)
        tried = [arm for arm in known if arm.treatment.kind is ArmKind.TREATMENT]
        best = self._winner

        def won(arm: Arm) -> bool:
            return best is not None and arm.treatment == best.treatment

        change = self._change
        if change is None and best is not None and self._wanted:
            why = _("Interrupted before the patched source was run.")
            change = unrun(next(self._ways(best.treatment)), why)
        steps = self._first.steps + (0 if bench is None else bench.steps)
        if self._steps and not (self._first.ended and self._steps >= self._first.steps):
            self._notes.append(
                _("Tried on a slice: the first {steps} steps of each training.").format(
                    steps=self._steps
                )
            )
        measured = 0 if bench is None else bench.measured
        if measured:
            self._notes.append(
                _n(
                    "{count} treatment was measured on one batch only: others came before it, by "
                    "the reach that they leave.",
                    "{count} treatments were measured on one batch only: others came before them, "
                    "by the reach that they leave.",
                    measured,
                ).format(count=measured)
            )
        trial = Trial(
            diagnosis=diagnosis,
            proven=proven,
            because=because,
            budget=str(self._budget),
            slice_steps=self._steps or self._first.steps,
            whole=self._first.ended and self._steps in (0, self._first.steps),
            held_out=untreated is not None
            and bool(untreated.runs)
            and all(run.held_out is not None for run in untreated.runs),
            untreated=untreated,
            treated=best,
            comparison=compare(untreated, best) if untreated and best else None,
            tried=tuple(sorted(promising(tried), key=won, reverse=True)),
            controls=() if self._held is None else tuple(self._held.controls),
            steps=steps,
            seconds=time.monotonic() - self._started,
            notes=tuple(self._notes),
            trainings=self._trainings,
        )
        return trial if change is None else change.told(trial)


def _judged(diagnosis: Diagnosis, trainings: Sequence[Readings]) -> int:
    """Return the place of the training that the diagnosis is about."""
    for place, readings in enumerate(trainings):
        record = readings.record
        losses = readings.losses[1]
        first = float(losses[0]) if losses.size else None
        run = diagnosis.run
        if (record.model, record.steps, first) == (diagnosis.model, run.steps, run.loss_first):
            return place
    return 0

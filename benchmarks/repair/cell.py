"""One cell of the benchmark: a subject with one seed, looked at by every method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gradfuga._diagnose import diagnose
from gradfuga._trial.bench import UNTREATED, Bench
from gradfuga._trial.decision import AS_GOOD, WORTHWHILE
from gradfuga._trial.request import Request
from gradfuga._trial.scratch import Place
from gradfuga._trial.search import Search
from gradfuga._trial.workers import AbstractPool
from gradfuga._types import Diagnosis, Verdict
from gradfuga.analysis.progress import measure_progress
from gradfuga.experiment import Arm, Treatment
from gradfuga.readings import Readings

from .methods import METHODS, Method
from .remembered import Remembered
from .subjects import FILE, Subject

PAIRS = 3  # seeds that decide, as `gradfuga repair --seeds 3`
FRESH = range(100, 102)  # seeds that no method has seen, on which success is judged
BUDGET = 12  # trainings, proof included, after which a method has failed
_ALONE = (Verdict.HEALTHY, Verdict.INCONCLUSIVE)  # nothing is treated


@dataclass(frozen=True, slots=True)
class Result:
    """What one method has come to.

    Attributes:
        method: its name.
        repaired: **success**: on fresh seeds the treated script makes at least AS_GOOD (.8) of
            the progress that its control makes, and the method had proven it within the budget.
        trainings: optimizer steps up to the proof, in trainings of the script; BUDGET without one.
        steps: the same in steps.
        treatment: what it proved, "" for nothing.
        progress: on the fresh seeds; None without a proof.
    """

    method: str
    repaired: bool
    trainings: float
    steps: int
    treatment: str = ""
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One subject with one seed.

    Attributes:
        name, sick, seed: which.
        verdict, severity: of the untreated script.
        untreated, control: progress on the fresh seeds; None for a healthy subject.
        results: of every method, one a draw.
    """

    name: str
    sick: bool
    seed: int
    verdict: str
    severity: str
    untreated: float | None = None
    control: float | None = None
    results: tuple[Result, ...] = ()

    @property
    def left_alone(self) -> bool:
        """Whether nothing is treated."""
        return self.verdict in {each.value for each in _ALONE}

    def plain(self) -> dict[str, object]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, raw: dict[str, object]) -> Cell:
        """Read what `plain` has written."""
        results = raw.pop("results")
        assert isinstance(results, list)
        return cls(**raw, results=tuple(Result(**each) for each in results))  # type: ignore[arg-type]


def evaluate(
    subject: Subject, seed: int, pool: AbstractPool, methods: Sequence[Method] = METHODS
) -> Cell:
    """Diagnose a subject, and let each of `methods` look for a treatment if it is sick."""
    with TemporaryDirectory(prefix="gradfuga-repair-") as folder:
        place = Place.of(FILE, subject.place(Path(folder) / "user"))
        diagnosis, readings, training = _observed(place, pool)
        head = (subject.name, subject.sick, seed, diagnosis.verdict.value, diagnosis.severity.value)
        if not subject.sick:
            return Cell(*head)
        steps = readings.record.steps
        like = Request(
            place, (), None, 0, steps, None, 0.0, training=training, model=diagnosis.model
        )
        shared = Remembered(pool)
        judge = Bench(shared, like, deadline=None, tell=_quiet)
        control = Treatment("control", sources=((FILE, subject.control),))
        wanted = _fresh(judge.arms([control], FRESH, steps))
        results = [
            _result(method, draw, wanted, judge, like, shared, subject, diagnosis, readings)
            for method in methods
            for draw in range(method.draws)
        ]
        untreated = _fresh(judge.arms([UNTREATED], FRESH, steps))
        return Cell(*head, untreated, wanted, tuple(results))


def _observed(place: Place, pool: AbstractPool) -> tuple[Diagnosis, Readings, int]:
    with TemporaryDirectory(prefix="gradfuga-observed-") as folder:
        request = Request(place, (), None, 0, None, None, 600.0, record=folder)
        run = pool.submit(request).result()
        if run.failed:
            raise RuntimeError(run.failed)
        pool.prepare(run.modules)
        parts = sorted(Path(folder).glob("[0-9]*"), key=lambda part: int(part.name))
        trainings = [Readings.open(part) for part in parts]
        diagnosis = diagnose(trainings)
        of_it = [r.record.steps == diagnosis.run.steps for r in trainings]
        place_of = of_it.index(True) if any(of_it) else 0
        return diagnosis, trainings[place_of], place_of


def _result(
    method: Method,
    draw: int,
    wanted: float,
    judge: Bench,
    like: Request,
    pool: AbstractPool,
    subject: Subject,
    diagnosis: Diagnosis,
    readings: Readings,
) -> Result:
    steps = readings.record.steps
    bench = Bench(pool, like, deadline=None, tell=_quiet, most_steps=BUDGET * steps)
    search = Search(
        bench=bench,
        steps=steps,
        hurdle=steps // 4,
        seeds=range(PAIRS),
        most=8,
        abreast=1,
        permitted=measure_progress(readings).reference,
    )
    found = method.look(search, diagnosis, subject, draw)
    if found is None or found.winner is None or bench.steps > BUDGET * steps:
        return Result(method.name, False, float(BUDGET), BUDGET * steps)
    treatment = found.winner.treatment
    length = found.winner.runs[0].steps
    reached = _fresh(judge.arms([treatment], FRESH, max(steps, length)))
    return Result(
        method=method.name,
        repaired=reached >= AS_GOOD * wanted and reached > WORTHWHILE,
        trainings=bench.steps / steps,
        steps=bench.steps,
        treatment=treatment.title,
        progress=reached,
    )


def _fresh(arms: Iterable[Arm]) -> float:
    """Return the mean progress of an arm over its seeds; -1 where a run has failed."""
    scores = [run.score if not run.failed else -1.0 for arm in arms for run in arm.runs]
    mean = statistics.fmean(scores)
    return -1.0 if math.isnan(mean) else mean


def _quiet(_text: str) -> None:
    pass

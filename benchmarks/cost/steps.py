"""The ratios of observed to bare steps, row by row."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from gradfuga import observe
from gradfuga._observe import Observer
from gradfuga._torch.cadence import STARTUP_SAMPLES

from .paired import Ratio, compare, pause, ratio, resume, timed
from .table import Row
from .workloads import Workload

_NEVER = 10**9  # samples step 0 only
_LATE = 10_000  # the step that a training is told to be at, where its beginning is reported apart
_FIRST = 1_000  # steps that are timed from the beginning, where they take seconds
_SECONDS = 10.0  # that they may take
_BLOCK_SECONDS = 0.2  # of steps under the default budget
_BUDGET_BAR, _PARAMETERS_BAR = 1.02, 1.05


def measure(workload: Workload, *, tape_bar: float | None, seconds: float) -> Iterator[Row]:
    """Measure all rows of one network.

    Args:
        workload: its training.
        tape_bar: bare steps that one sampled step with its tape may take.
        seconds: to spend on each row, about.
    """
    timed(workload.step, 5)
    bare = statistics.median(timed(workload.step, 10).cpu)
    # short blocks: what else runs on the machine changes from one tenth of a second to the next
    steps = max(2, min(10, round(0.05 / bare)))
    pairs = max(7, min(101, round(seconds / bare / steps / 2)))

    found = _budget(workload, seconds)
    yield Row(
        where=workload.name,
        what="default budget, after start-up",
        value=found.mean,
        unit="x bare",
        bar=_BUDGET_BAR,
        detail=f"mean, standard error {found.error:.3f}; median {found.median:.3f}",
    )

    observer = observe(workload.model, workload.optimizer, every=_NEVER)
    resume(observer)
    timed(workload.step, 3)
    _grow_old(observer)
    timed(workload.step, 3)
    pause(observer)
    found = compare(workload, observer, pairs=pairs, steps=steps)
    observer.close()
    yield _row(workload, "unsampled step", found, None)

    observer = observe(workload.model, workload.optimizer, every=1, tape=False)
    found = compare(workload, observer, pairs=pairs, steps=steps)
    observer.close()
    yield _row(workload, "parameters at every step", found, _PARAMETERS_BAR)

    observer = observe(workload.model, workload.optimizer, every=1)
    resume(observer)
    timed(workload.step, 3)  # the first one reads the source lines
    pause(observer)
    found = compare(workload, observer, pairs=pairs, steps=steps)
    observer.close()
    yield _row(workload, "sampled step with its tape", found, tape_bar)

    yield _row(workload, "first sampled step, source lines", _first(workload), None)

    if _FIRST * bare < _SECONDS:
        yield _row(workload, "first 1,000 steps, start-up and all", _beginning(workload), None)


def _budget(workload: Workload, seconds: float) -> Ratio:
    """Time many pairs of short blocks under the default budget, of which few steps are sampled.

    What else runs on the machine moves a block by a tenth; the mean of a hundred pairs tells 1 %.
    """
    observer = observe(workload.model, workload.optimizer)
    resume(observer)
    timed(workload.step, 9)
    _grow_old(observer)
    timed(workload.step, 20)
    pause(observer)
    bare = statistics.median(timed(workload.step, 3).cpu)
    steps = max(4, round(_BLOCK_SECONDS / bare))
    pairs = max(20, round(4 * seconds / (steps + 1) / bare / 2))
    average = statistics.fmean
    found = compare(workload, observer, pairs=pairs, steps=steps, average=average)
    observer.close()
    return found


def _grow_old(observer: Observer) -> None:
    """Leave the beginning behind: start-up samples, and looks at the loss that grow rarer."""
    for training in observer._watch.trainings:
        training.cadence.startup_samples = STARTUP_SAMPLES
        training.steps = _LATE
        training.tapes.losses._looked_at = _LATE


def _beginning(workload: Workload) -> Ratio:
    """Time the first steps of new observers, with the default budget."""
    bare, watched = [], []
    for _ in range(3):
        bare.append(timed(workload.step, _FIRST))
        observer = observe(workload.model, workload.optimizer)
        resume(observer)
        watched.append(timed(workload.step, _FIRST))
        observer.close()
    return ratio(bare, watched, statistics.fmean)


def _first(workload: Workload) -> Ratio:
    """Time the first sampled step of new observers: names, graph and source lines are made."""
    bare, watched = [], []
    for _ in range(5):
        bare.append(timed(workload.step, 3))
        observer = observe(workload.model, workload.optimizer, every=1)
        resume(observer)
        watched.append(timed(workload.step, 1))
        observer.close()
    return ratio(bare, watched)


def _row(workload: Workload, what: str, found: Ratio, bar: float | None) -> Row:
    return Row(
        where=workload.name,
        what=what,
        value=found.median,
        unit="x bare",
        bar=bar,
        detail=(
            f"quartiles {found.low:.3f} to {found.high:.3f}, wall {found.wall:.3f}; "
            f"{1e3 * found.extra_seconds:+.3f} ms on {1e3 * found.bare_seconds:.2f} ms"
        ),
    )

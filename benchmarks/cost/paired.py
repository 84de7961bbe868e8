"""Time observed against bare steps of one training, interleaved in one process.

The clock is the CPU time of the thread that trains, on one thread: on an idle machine it is the
time on the wall, on a busy one it leaves out what other programs took. The wall's ratio is kept
beside it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gradfuga._observe import Observer

from .workloads import Workload


@dataclass(frozen=True, slots=True)
class Steps:
    """Seconds of some steps, each on both clocks."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Observed over bare, one value from each pair of blocks; quartiles of the values.

    Attributes:
        bare_seconds: median of a bare step.
        extra_seconds: median of what an observed step takes more.
        low, median, high: quartiles of the ratio.
        mean, error: mean of the ratio and its standard error, which the few sampled steps count in.
        wall: median of the same ratio by the clock on the wall.
    """

    bare_seconds: float
    extra_seconds: float
    low: float
    median: float
    high: float
    mean: float
    error: float
    wall: float


def timed(step: Callable[[], None], count: int) -> Steps:
    """Run `count` steps."""
    cpu, wall = [], []
    for _ in range(count):
        on_wall, on_cpu = time.perf_counter(), time.thread_time()
        step()
        cpu.append(time.thread_time() - on_cpu)
        wall.append(time.perf_counter() - on_wall)
    return Steps(tuple(cpu), tuple(wall))


def resume(observer: Observer) -> None:
    """Attach again after a pause, whose time is not the training's."""
    observer._watch.attach()
    for training in observer._watch.trainings:
        training._last_end = None


def pause(observer: Observer) -> None:
    """Take every hook away for a while."""
    observer._watch.detach()


def compare(
    workload: Workload,
    observer: Observer,
    *,
    pairs: int,
    steps: int,
    average: Callable[[Iterable[float]], float] = statistics.median,
) -> Ratio:
    """Compare blocks of bare with blocks of observed steps, in the order A B B A.

    Args:
        workload: the training; it goes on through all blocks.
        observer: pauses in the bare blocks.
        pairs: pairs of blocks.
        steps: in each block, after one that is not timed.
        average: of a block's steps; the mean where only few of them are sampled.
    """
    bare, watched = [], []
    for pair in range(pairs):
        for observed in (False, True) if pair % 2 == 0 else (True, False):
            if observed:
                resume(observer)
            timed(workload.step, 1)
            (watched if observed else bare).append(timed(workload.step, steps))
            if observed:
                pause(observer)
    return ratio(bare, watched, average)


def ratio(
    bare: Sequence[Steps],
    watched: Sequence[Steps],
    average: Callable[[Iterable[float]], float] = statistics.median,
) -> Ratio:
    """Return the quartiles of the ratio over pairs of blocks."""
    pairs = [(average(b.cpu), average(w.cpu)) for b, w in zip(bare, watched, strict=True)]
    ratios = [observed / alone for alone, observed in pairs]
    low, middle, high = (
        statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    )
    return Ratio(
        bare_seconds=statistics.median(alone for alone, _ in pairs),
        extra_seconds=statistics.median(observed - alone for alone, observed in pairs),
        low=low,
        median=middle,
        high=high,
        mean=statistics.fmean(ratios),
        error=statistics.stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan,
        wall=statistics.median(
            average(w.wall) / average(b.wall) for b, w in zip(bare, watched, strict=True)
        ),
    )

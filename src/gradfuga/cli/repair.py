"""The command `repair`: treatments of an unmodified training script, tried and proven."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .._errors import UsageError
from .._messages import _, language
from ._options import JsonFile, Language, ReportFile, tell_misplaced
from ._voice import say
from ._writing import write_source

if TYPE_CHECKING:
    from .._trial.workers import AbstractPool

FEWEST_SEEDS, MOST_SEEDS = 3, 16  # two pairs say nothing; sixteen are enumerated by the exact test
NOTHING_PROVEN = 1  # exit code: the script is ill; no treatment is proven, or none is written
_INTERRUPTED = 130  # as a shell reports SIGINT


def repair(
    context: typer.Context,
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A Python file that trains.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="All that follows belongs to the script."),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="5min|300steps",
            help="Time for everything, or steps for each training.",
        ),
    ] = "5min",
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            help="Pairs that decide.",
            show_default="at most 5, as the budget allows",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", metavar="N", help="Processes side by side.", show_default="one a core"
        ),
    ] = None,
    unsafe: Annotated[
        bool,
        typer.Option(
            "--unsafe", help="Agree to changes after which a saved model does not fit any more."
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Change the script, if a treatment is proven.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Run the trials on a Ray cluster; 'local' starts one."
        ),
    ] = None,
    json: JsonFile = None,
    report: ReportFile = None,
    lang: Language = "en",
) -> None:
    """Try treatments on an unmodified training script, and show the one that is proven.

    The script runs many times, in child processes, each in a scratch copy of its folder and for a
    slice of its steps. Your files stay as they are, unless --write is given.
    """
    from ._delivery import Delivery

    with language(lang):
        delivery = Delivery.checked(json=json, report=report, fail_on=None)
        _check(seeds, jobs)
        if script == "-":
            raise UsageError(
                _("expected the path of a training script"),
                _("got '-': standard input can be read once, and a trial runs the script often"),
                _("Write it to a file, and give the path of that."),
            )
        tell_misplaced(context, script, arguments or ())
        from .._trial import trial

        with _pool(ray, jobs) as pool:
            tried = trial(
                script,
                arguments or (),
                budget=budget,
                seeds=seeds,
                jobs=jobs,
                pool=pool,
                tell=say,
            )
        delivery.deliver(tried.diagnosis, tried.trainings, stream=sys.stdout, trial=tried)
        refused = write and not write_source(tried, unsafe=unsafe)
    if tried.interrupted:
        raise typer.Exit(_INTERRUPTED)
    if tried.tried and (refused or not tried.proven):
        raise typer.Exit(NOTHING_PROVEN)


def _check(seeds: int | None, jobs: int | None) -> None:
    if seeds is not None and not FEWEST_SEEDS <= seeds <= MOST_SEEDS:
        raise UsageError(
            _("expected {low} to {high} seeds").format(low=FEWEST_SEEDS, high=MOST_SEEDS),
            _("got {value}").format(value=seeds),
            _("Write --seeds 5."),
        )
    if jobs is not None and jobs < 1:
        raise UsageError(
            _("expected a number of processes, 1 or more, after --jobs"),
            _("got {value}").format(value=jobs),
            _("Write --jobs 2."),
        )


@contextmanager
def _pool(ray: str | None, jobs: int | None) -> Iterator[AbstractPool]:
    from .._trial.workers import LocalPool

    if ray is None:
        pool: AbstractPool = LocalPool(jobs or os.cpu_count() or 1)
    else:
        from .._trial.ray_pool import RayPool

        pool = RayPool(ray, jobs)
    try:
        yield pool
    finally:
        pool.close()

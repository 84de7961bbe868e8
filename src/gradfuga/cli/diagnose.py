"""The command `diagnose`: the verdict again, from a recorded run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .._messages import language
from ._options import FailOn, JsonFile, Lag, Language, ReportFile, check_lag


def diagnose(
    run_dir: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="The folder that gradfuga run named.")
    ],
    json: JsonFile = None,
    report: ReportFile = None,
    lag: Lag = None,
    lang: Language = "en",
    fail_on: FailOn = None,
) -> None:
    """Diagnose a recorded run again. The verdict goes to standard output."""
    from ._delivery import Delivery

    with language(lang):
        check_lag(lag)
        delivery = Delivery.checked(json=json, report=report, fail_on=fail_on)
        from .._diagnose import diagnose as diagnosed
        from ..readings import Readings
        from ._places import recorded_runs

        # A folder without a run goes to Readings.open, which says what is missing.
        folders = recorded_runs(run_dir) or [run_dir]
        trainings = [Readings.open(each) for each in folders]
        diagnosis = diagnosed(trainings, lag=lag)
        delivery.deliver(diagnosis, trainings, stream=sys.stdout)
    code = delivery.exit_code(diagnosis)
    if code:
        raise typer.Exit(code)

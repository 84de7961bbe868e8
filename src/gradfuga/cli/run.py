"""The command `run`: an unmodified training script, observed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._errors import UsageError
from .._messages import _, language
from ._deferred import Deferred
from ._options import FailOn, JsonFile, Lag, Language, ReportFile, check_lag, tell_misplaced

DEFAULT_BUDGET = 0.01  # as observe()


def run(
    context: typer.Context,
    script: Annotated[
        str, typer.Argument(metavar="SCRIPT", help="A Python file, or with -m a module's name.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="All that follows belongs to the script."),
    ] = None,
    module: Annotated[
        bool, typer.Option("-m", "--module", help="SCRIPT is a module, as in python -m.")
    ] = False,
    json: JsonFile = None,
    report: ReportFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder to record to.",
            show_default="gradfuga-runs/SCRIPT-DATE",
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="N", help="Sample every N-th step, whatever it costs."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SHARE",
            help="Share of the training time to spend on samples.",
            show_default=str(DEFAULT_BUDGET),
        ),
    ] = None,
    lag: Lag = None,
    lang: Language = "en",
    fail_on: FailOn = None,
) -> None:
    """Run an unmodified training script and say whether its gradients flow.

    The script runs as under `python`: its arguments, output, exceptions, signals and exit
    code stay what they are. Started by torchrun, the processes are read together and the first one
    speaks. What gradfuga has to say it says on stderr, after the script's end;
    standard output belongs to the script alone. Only --fail-on changes the exit code, to 3, and
    only where the script itself ended well.
    """
    from .._torch.launch import Program, check
    from ._delivery import Delivery
    from ._places import checked_run_folder, is_first_process, new_run_folder
    from ._watch import Cadence, run_watched

    program = Program(script, tuple(arguments or ()), module=module)
    with language(lang):
        _check_cadence(every, budget)
        check_lag(lag)
        delivery = Delivery.checked(json=json, report=report, fail_on=fail_on)
        check(program)
        if not module:
            tell_misplaced(context, script, program.arguments)
        if not is_first_process():
            delivery, folder = Delivery(), None
        else:
            folder = new_run_folder(program.name) if out is None else checked_run_folder(out)
    cadence = Cadence(every=every, budget=DEFAULT_BUDGET if budget is None else budget)
    deferred = context.obj
    assert isinstance(deferred, Deferred)
    deferred.action = lambda: run_watched(
        program, cadence=cadence, folder=folder, delivery=delivery, lang=lang, lag=lag
    )


def _check_cadence(every: int | None, budget: float | None) -> None:
    if every is not None and budget is not None:
        raise UsageError(
            _("expected --every or --budget"),
            _("got both"),
            _("Write --every to fix the steps, or --budget to fix the cost."),
        )
    if every is not None and every < 1:
        raise UsageError(
            _("expected a number of steps, 1 or more, after --every"),
            _("got {value}").format(value=every),
            _("Write --every 10 to sample each tenth step."),
        )
    if budget is not None and not 0 < budget <= 1:
        raise UsageError(
            _("expected a share of the training time, above 0 and at most 1, after --budget"),
            _("got {value}").format(value=budget),
            _("Write --budget 0.01 for one percent."),
        )

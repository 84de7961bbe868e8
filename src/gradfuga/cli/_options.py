"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .._errors import UsageError
from .._messages import _
from ._voice import warn

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the diagnosis as one JSON document."),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE.html", help="Write a page that opens offline in any browser."
    ),
]
Language = Annotated[
    str, typer.Option("--lang", metavar="en|pt-BR", help="Language of the verdict.")
]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="mild|serious|fatal",
        help="Exit with code 3 if the verdict is at least this severe.",
    ),
]
Lag = Annotated[
    int | None,
    typer.Option(
        "--lag", metavar="N", help="How many time steps back the task reaches (recurrent networks)."
    ),
]


def tell_misplaced(context: typer.Context, script: str, arguments: Sequence[str]) -> None:
    """Say which of our options stand after the script, if its text does not know them.

    All that follows the script is given to it, as by `python`; a script that reads its options in
    a way of its own gets them without a word wherever it names them.
    """
    command = context.command
    ours = {name for each in command.params for name in each.opts if name.startswith("--")}
    given = [argument.partition("=")[0] for argument in arguments]
    try:
        text = Path(script).read_text("utf-8", errors="replace")
    except OSError:
        return
    for option in dict.fromkeys(given):
        if option in ours and option.strip("-").replace("-", "_") not in text.replace("-", "_"):
            told = _(
                "{option} stands after the script and is given to it, as all that follows. For "
                "gradfuga write it before: gradfuga {command} {option} ... {script}"
            )
            warn(told.format(option=option, command=command.name, script=script))


def check_lag(lag: int | None) -> None:
    """Refuse a lag that is no number of steps.

    Raises:
        UsageError: it is less than 1.
    """
    if lag is not None and lag < 1:
        raise UsageError(
            _("expected a number of steps, 1 or more, after --lag"),
            _("got {value}").format(value=lag),
            _("Write --lag 80 for a task that needs what was seen 80 steps before."),
        )

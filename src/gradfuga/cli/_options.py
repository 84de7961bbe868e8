"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._errors import UsageError
from .._messages import _

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

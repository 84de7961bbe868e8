"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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

"""The command line: names the commands, and answers their errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.main import get_command

from .._errors import GradfugaError
from ._deferred import Deferred
from .diagnose import diagnose
from .explain import explain
from .repair import repair
from .rules import rules
from .run import run


def main() -> None:
    """Run the command that `sys.argv` names, and leave with its exit code."""
    deferred = Deferred()
    try:
        get_command(_app())(prog_name="gradfuga", obj=deferred)
    except GradfugaError as error:
        sys.stderr.write(f"gradfuga: error: {error.expected}, {error.came}.\n  {error.instead}\n")
        raise SystemExit(2) from None
    except SystemExit:
        if deferred.action is None:
            raise
    if deferred.action is not None:
        deferred.action()


def _app() -> typer.Typer:
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_gradfuga)
    # From SCRIPT on, every word belongs to the script: options that look like ours, and `--`.
    app.command(context_settings={"allow_interspersed_args": False})(run)
    app.command(context_settings={"allow_interspersed_args": False})(repair)
    for command in (diagnose, rules, explain):
        app.command()(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"gradfuga {version('gradfuga')}")
        raise typer.Exit


def _gradfuga(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Find where the gradients of a PyTorch network vanish or explode, and say why.

    Put `gradfuga run` before an unmodified training script: `gradfuga run train.py --lr 0.1`
    """

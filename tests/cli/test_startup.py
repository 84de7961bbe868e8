"""The command answers without the heavy libraries."""

import importlib.metadata
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pyarrow", "bokeh")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["--version"],
        ["rules"],
        ["explain", "?"],
        ["run", "--help"],
        ["run", "gone"],
    ],
)
def test_quick_commands_import_nothing_heavy(words):
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print([m for m in {HEAVY} if m in sys.modules]))\n"
        f"sys.argv = ['gradfuga', *{words}]\n"
        "from gradfuga.cli import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_version_is_that_of_the_package(shell):
    version = importlib.metadata.version("gradfuga")
    assert shell.gradfuga("--version").out == f"gradfuga {version}\n"


def test_no_command_shows_the_help(shell):
    ending = shell.gradfuga()
    for command in ("run", "diagnose", "rules", "explain"):
        assert command in ending.out + ending.err

"""The command in a real process, with fakes where torch would make a test slow."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

# Stands beside the scripts: `import torch` finds it first, as sys.path[0] is the script's folder.
FAKE_TORCH = """
STEPS = 0

def step():
    global STEPS
    STEPS += 1
"""

# Starts the command with an observer that counts the fake's steps, and a diagnosis without rules.
DRIVER = """
import os, sys, types
from pathlib import Path

said = Path(os.environ["FAKE_SAID"])

def say(*words):
    with said.open("a") as file:
        print(*words, file=file)

class FakeObserver:
    def __init__(self, out):
        self.out = out
        self.interrupted = False
        self.live = True
    def __enter__(self):
        say("enter")
        return self
    def __exit__(self, kind, error, trace):
        say("exit", kind and kind.__name__)
        self.interrupted = kind is KeyboardInterrupt
        for each in self.trainings:
            if self.out is not None:
                each.save(self.out)
    def abandon(self):
        self.live = False
        say("abandon")
    @property
    def trainings(self):
        from gradfuga.readings import Readings, RunRecord
        if "FAKE_LOST" in os.environ:
            raise RuntimeError("lost it")
        steps = sys.modules["torch"].STEPS
        if not self.live or not steps:
            return ()
        lost = ("the sink 'parquet' (OSError)",) if "FAKE_FULL" in os.environ else ()
        record = RunRecord(steps=steps, interrupted=self.interrupted, warnings=lost)
        return (Readings(record=record),)

def observe(**settings):
    say(*(f"{k}={v}" for k, v in sorted(settings.items())))
    if "FAKE_REFUSES" in os.environ:
        raise RuntimeError("cannot observe")
    return FakeObserver(settings["out"])

def diagnose(trainings, **settings):
    from gradfuga._types import (
        Diagnosis, DepthProfile, RunSummary, Severity, Verdict,
    )
    if "FAKE_SICK" in os.environ:
        raise KeyError("rule")
    if "FAKE_SLOW" in os.environ:
        import time
        print("diagnosing", flush=True)
        time.sleep(60)
    severity = Severity(os.environ.get("FAKE_SEVERITY", "none"))
    run = RunSummary("s", trainings[0].record.steps, 1, 0.0, 0.0, 1.0, 0.5, "SGD",
                     trainings[0].record.interrupted)
    verdict = Verdict.HEALTHY if severity is Severity.NONE else Verdict.VANISHING
    return Diagnosis(verdict, severity, None, f"after {run.steps} steps", None, (), (), 0.0, (),
                     (), DepthProfile(), run)

for name, verb in (("_observe", observe), ("_diagnose", diagnose)):
    module = types.ModuleType(f"gradfuga.{name}")
    setattr(module, verb.__name__, verb)
    sys.modules[module.__name__] = module

from gradfuga.cli import main
sys.argv[0] = "gradfuga"
main()
"""


@dataclass(frozen=True)
class Ending:
    code: int
    out: str
    err: str


class Shell:
    """A folder to work in, and the commands to start there."""

    def __init__(self, folder: Path, *, driver: Path | None) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self._driver = driver
        self._said = folder / "said"
        self.environment = {**os.environ, "FAKE_SAID": str(self._said), "COLUMNS": "100"}

    def write(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
        return path

    def start(
        self, *words: str, given: str | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        entry = [str(self._driver)] if self._driver else ["-m", "gradfuga"]
        return self._process(*entry, *words, given=given, **environment)

    def gradfuga(self, *words: str, **environment: str) -> Ending:
        return self._ended(self.start(*words, **environment))

    def python(self, *words: str) -> Ending:
        return self._ended(self._process(*words))

    def _process(
        self, *words: str, given: str | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _ended(self, process: subprocess.Popen[str]) -> Ending:
        out, err = process.communicate(timeout=120)
        return Ending(process.returncode, out, err)

    @property
    def said(self) -> list[str]:
        """What the fake observer was told."""
        return self._said.read_text().splitlines() if self._said.exists() else []

    @property
    def runs(self) -> list[Path]:
        return sorted((self.folder / "gradfuga-runs").glob("*/"))


@pytest.fixture
def shell(tmp_path):
    """The command as it is."""
    return Shell(tmp_path, driver=None)


@pytest.fixture
def faked(tmp_path):
    """The command with a fake torch, a fake observer and a fake diagnosis."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    shell = Shell(tmp_path, driver=driver)
    shell.write("torch.py", FAKE_TORCH)
    return shell

"""Programs to launch, beside the same programs under ``python``."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

DRIVER = """
import sys
from gradfuga._torch.launch import Program, check, launch

module = sys.argv[1] == "-m"
target, *arguments = sys.argv[1 + module:]
program = Program(target, tuple(arguments), module=module)
check(program)
outcome = launch(
    program,
    torch_imported=lambda: print("told: torch", flush=True),
    terminated=lambda: print("told: terminated", flush=True),
)
outcome.leave()
"""


class Ending(NamedTuple):
    code: int
    out: str
    err: str


class Bench:
    """A folder with programs in it, and the two ways to run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.driver = folder / "driver.py"
        self.driver.write_text(DRIVER)

    def write(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
        return path

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, *words: str) -> Ending:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return Ending(process.returncode, out, err)

    def signalled(self, number: int, *words: str) -> Ending:
        """Start a program, and send it a signal when it says that it is ready."""
        process = self.start(*words)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return Ending(process.returncode, out, err)

    def plain(self, *words: str) -> Ending:
        return self.end(*words)

    def launched(self, *words: str) -> Ending:
        return self.end(str(self.driver), *words)

    def same(self, *words: str) -> Ending:
        """Run both ways, demand equality, return what both gave."""
        launched = self.launched(*words)
        assert launched == self.plain(*words)
        return launched

    def same_fed(self, given: bytes, *words: str) -> Ending:
        """Likewise, with `given` on standard input."""
        endings = []
        for entry in ([str(self.driver)], []):
            done = subprocess.run(
                [sys.executable, *entry, *words],
                cwd=self.folder,
                input=given,
                capture_output=True,
                timeout=60,
                check=False,
            )
            endings.append(Ending(done.returncode, done.stdout.decode(), done.stderr.decode()))
        assert endings[0] == endings[1]
        return endings[0]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)

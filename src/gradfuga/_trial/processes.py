"""Start the child processes of a trial, and end them with all that they have started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import final

_START = "import sys\nfrom gradfuga._trial.child import main\nmain(sys.argv.pop())\n"
_SERVE = "from gradfuga._trial.fork_server import serve\nserve()\n"
# The first optimizer of a process imports it, in a second and more; it starts no threads.
_AHEAD = ("torch._dynamo",)
# One thread each: several trainings share the cores. Nobody looks at their windows, and what
# they would report to a service is no training of the user's.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
    "WANDB_MODE": "disabled",
    "COMET_MODE": "disabled",
    "NEPTUNE_MODE": "debug",
    "MLFLOW_TRACKING_URI": "mlruns",
    "TQDM_DISABLE": "1",
}


class AbstractChild(ABC):
    """A running child process."""

    @abstractmethod
    def wait(self, seconds: float) -> int | None:
        """Return its exit code (a signal negative), None if it still runs after `seconds`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C does."""

    @abstractmethod
    def kill(self) -> None:
        """End it, and every process that it has started."""


class AbstractStarter(ABC):
    """A way to start children."""

    @abstractmethod
    def start(self, order: Path, errors: Path) -> AbstractChild:
        """Start a child that carries out the order in `order` and writes stderr to `errors`."""

    def prepare(self, modules: tuple[str, ...]) -> None:  # noqa: B027 (nothing, where none can be)
        """Import `modules` ahead of the next children."""

    def close(self) -> None:  # noqa: B027
        """Start nothing more."""


def starter(folder: Path) -> AbstractStarter:
    """Return the fastest way that this system has; `folder` is for files of ours."""
    return ForkStarter(folder) if sys.platform == "linux" else FreshStarter(folder)


@final
class FreshStarter(AbstractStarter):
    """A fresh interpreter for each child."""

    def __init__(self, folder: Path) -> None:
        # By a file of ours: with -m or -c the working directory would shadow modules.
        self._entry = _entry(folder, "start.py", _START)

    def start(self, order: Path, errors: Path) -> AbstractChild:
        """Start an interpreter."""
        with errors.open("wb") as told:
            return _FreshChild(
                subprocess.Popen(
                    [sys.executable, str(self._entry), str(order)],
                    env={**os.environ, **_ENVIRONMENT},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=told,
                    start_new_session=True,
                )
            )


@final
class _FreshChild(AbstractChild):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, seconds: float) -> int | None:
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        _kill_group(self._process.pid)
        self._process.wait()


@final
class ForkStarter(AbstractStarter):
    """Forks of one interpreter that has imported torch; see `fork_server`."""

    def __init__(self, folder: Path) -> None:
        entry = _entry(folder, "serve.py", _SERVE)
        self._server = subprocess.Popen(
            [sys.executable, str(entry)],
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us to answer
        )
        self._lock = threading.Lock()
        self._children: dict[str, _ForkedChild] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.prepare(_AHEAD)

    def start(self, order: Path, errors: Path) -> AbstractChild:
        """Ask for a fork."""
        child = _ForkedChild()
        with self._lock:
            self._children[str(order)] = child
        self._ask({"order": str(order), "errors": str(errors)})
        return child

    def prepare(self, modules: tuple[str, ...]) -> None:
        """Let the server import `modules`."""
        self._ask({"import": modules})

    def close(self) -> None:
        """Let the server end after its children."""
        stdin, stdout = self._server.stdin, self._server.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(OSError):
            stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(1.0)
        _kill_group(self._server.pid)
        self._server.wait()
        self._listener.join()
        stdout.close()

    def _ask(self, what: dict[str, object]) -> None:
        stdin = self._server.stdin
        assert stdin is not None
        with self._lock, suppress(OSError):  # a dead server: `_listen` tells the children
            stdin.write(json.dumps(what).encode() + b"\n")
            stdin.flush()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            told = json.loads(line)
            with self._lock:
                child = self._children[told.get("started") or told["ended"]]
            if "pid" in told:
                child.began(told["pid"])
            else:
                child.ended(told["code"])
        with self._lock:
            for child in self._children.values():
                child.ended(1)


@final
class _ForkedChild(AbstractChild):
    def __init__(self) -> None:
        self._over = threading.Event()
        self._pid: int | None = None
        self._killed = False
        self._code = 0

    def began(self, pid: int) -> None:
        self._pid = pid
        if self._killed:
            _kill_group(pid)

    def ended(self, code: int) -> None:
        if not self._over.is_set():
            self._code = code
            self._over.set()

    def wait(self, seconds: float) -> int | None:
        return self._code if self._over.wait(seconds) else None

    def interrupt(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, signal.SIGINT)

    def kill(self) -> None:
        self._killed = True
        if self._pid is not None:
            _kill_group(self._pid)


def _entry(folder: Path, name: str, text: str) -> Path:
    """Write a program into a folder of its own, which comes first on its `sys.path`."""
    place = folder / "entry"
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(text, "utf-8")
    return place / name


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)

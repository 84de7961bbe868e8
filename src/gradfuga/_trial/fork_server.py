"""Fork the children of a trial off a process that has imported torch already.

Importing torch takes seconds, and a trial starts dozens of processes. The server imports once and
forks for each order. It speaks lines: an order in, ``started`` and ``ended`` out.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
from contextlib import suppress
from pathlib import Path

_PAUSE = 0.03  # seconds between two looks at the children


def serve() -> None:
    """Fork a child for each line of standard input until it ends.

    A line is a JSON object: ``{"order": FILE, "errors": FILE}``, or ``{"import": [MODULE, ...]}``.
    """
    importlib.import_module("gradfuga._trial.inside")
    child = importlib.import_module("gradfuga._trial.child")
    running: dict[int, str] = {}
    waiting, open_for_more = b"", True
    while open_for_more or running:
        ready = select.select([0] if open_for_more else [], [], [], _PAUSE)[0]
        if ready:
            read = os.read(0, 65_536)
            open_for_more = bool(read)
            *lines, waiting = (waiting + read).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                for name in asked.get("import", ()):
                    with suppress(Exception):  # then the script imports it by itself
                        importlib.import_module(name)
                if "order" in asked:
                    pid = os.fork()
                    if pid == 0:
                        _become(Path(asked["errors"]))
                        child.main(asked["order"])
                    running[pid] = asked["order"]
                    _say({"started": asked["order"], "pid": pid})
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid in running:
                code = os.waitstatus_to_exitcode(status)
                _say({"ended": running.pop(pid), "code": code})


def _become(errors: Path) -> None:
    """Make this fork a process of its own: session, signals, standard streams."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDWR)
    told = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for source, target in ((nothing, 0), (nothing, 1), (told, 2)):
        os.dup2(source, target)


def _say(record: dict[str, object]) -> None:
    os.write(1, json.dumps(record).encode() + b"\n")

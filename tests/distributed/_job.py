"""Start the processes of a job as torchrun does: by environment variables, on one machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WORKER = HERE / "_worker.py"


def start(size, *words, folder=None):
    """Run a script in `size` processes; return what the first one wrote, and all it said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    processes = [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        endings = [each.communicate(timeout=150) for each in processes]
    finally:
        for each in processes:
            each.kill()
    codes = [each.returncode for each in processes]
    return codes, [out for out, _ in endings], [err for _, err in endings]


def trained(size, names):
    """Train these set-ups in one job; return what was recorded of each."""
    codes, outs, errs = start(size, str(WORKER), json.dumps(names))
    assert codes == [0] * size, errs
    assert not any("switched off" in err for err in errs), errs
    lines = [line for line in outs[0].splitlines() if line.startswith("{")]
    return {each["name"]: each for each in map(json.loads, lines)}

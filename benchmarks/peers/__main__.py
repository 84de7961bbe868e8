"""Put gradfuga beside what people would use instead, and print one table.

Every tool is measured in a process of its own, on the same networks and the same steps, bare and
watched steps in turn. Tools that are not there are left out and named; --install puts each into a
folder of its own.

Usage: python -m benchmarks.peers [--install] [--only mlp,conv,transformer] [--write]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .child import WORKLOADS
from .tools import TOOLS, Tool

_ROOT = Path(__file__).parents[2]
_PACKAGES = Path(tempfile.gettempdir()) / "gradfuga-peers"
_PAGE = _ROOT / "benchmarks" / "peers.md"


def _folder(tool: Tool) -> Path:
    return _PACKAGES / tool.packages[0].partition("==")[0]


def _name(requirement: str) -> str:
    return re.split(r"[=<>!~ ]", requirement.strip(), maxsplit=1)[0]


def install(tool: Tool) -> None:
    """Install a tool into its own folder; torch and what else is there already stays outside."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        # what a tool asks for by itself (an old setuptools) is not held to our versions
        constraints.writelines(
            f"{line}\n"
            for line in (_ROOT / "constraints.txt").read_text("utf-8").splitlines()
            if _name(line) not in {_name(package) for package in tool.packages}
        )
        constraints.flush()
        command += ["-c", constraints.name, "--target", str(_folder(tool))]
        subprocess.run([*command, *tool.packages], check=False)
    # torch was only asked for: the tool is to run on the one that everything else runs on
    for name in ("torch", "numpy", "scipy", "functorch"):
        subprocess.run(["rm", "-rf", str(_folder(tool) / name)], check=True)


def _environment(tool: Tool) -> dict[str, str]:
    paths = [str(_ROOT / "src"), str(_ROOT)]
    if tool.packages:
        paths.insert(0, str(_folder(tool)))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def measure(tool: Tool, network: str, seconds: float) -> dict[str, float] | str:
    """Return the numbers of one tool on one network, or why there are none."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.child", tool.name, network, str(seconds)],
        cwd=_ROOT,
        env=_environment(tool),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return numbers
    reason = [line for line in done.stderr.splitlines() if line.strip()]
    return reason[-1][:120] if reason else f"exit code {done.returncode}"


def _rows(networks: list[str], seconds: float) -> Iterator[str]:
    for network in networks:
        for tool in TOOLS:
            found = measure(tool, network, seconds)
            name = f"**{tool.name}**" if tool.ours else tool.name
            if isinstance(found, str):
                yield f"| {network} | {name} | {tool.what} | - | - | - | {found} |"
                continue
            yield (
                f"| {network} | {name} | {tool.what} | {found['median']:.3f} "
                f"({found['low']:.3f} to {found['high']:.3f}) | {found['memory_mb']:.0f} "
                f"| {found['disk_kb']:.0f} | bare step {found['bare_ms']:.2f} ms |"
            )


def main() -> None:
    """Install where asked, measure, print row by row, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--install", action="store_true", help="install the tools first")
    parser.add_argument("--only", default="", help=f"networks among {', '.join(WORKLOADS)}")
    parser.add_argument("--seconds", type=float, default=8.0, help="to spend on each row")
    parser.add_argument("--write", action="store_true", help=f"also write {_PAGE.name}")
    options = parser.parse_args()

    if options.install:
        for tool in TOOLS:
            if tool.packages:
                print(f"installing {tool.name} ...", flush=True)
                install(tool)
    head = [
        "| network | tool, at every step | what it records | times a bare step | peak MB "
        "| KB on disk for 1,000 steps | note |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    print("\n".join(head), flush=True)
    rows = []
    for row in _rows(options.only.split(",") if options.only else list(WORKLOADS), options.seconds):
        rows.append(row)
        print(row, flush=True)
    if options.write:
        load = os.getloadavg()[1]
        about = [
            "# Beside what people would use instead",
            "",
            "Made by `python -m benchmarks.peers --install --write`. Each tool is used as its own",
            "documentation shows, at every step, in a process of its own. The ratio is the median",
            "over pairs of blocks, bare and watched steps in turn, by the CPU time of the training",
            "thread (quartiles behind it): what a tool leaves to other threads and processes, as",
            "wandb does, is not in it. Peak MB: by how much the process's largest size grows, the",
            "tool's own modules included. gradfuga's default budget is measured after 600 steps,",
            "and its start-up apart, in `results.md`.",
            "",
            f"{datetime.date.today():%Y-%m-%d}; load average at the end {load:.1f} (1 is this",
            "program alone).",
            "",
        ]
        _PAGE.write_text("\n".join([*about, *head, *rows, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the commands take: those without torch against python's own start, a large diagnosis."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence

from .table import Row

# What needs no torch answers within half a second on an idle machine.
_ANSWER_SECONDS = 0.5
_DIAGNOSIS_SECONDS = 15.0

_LARGE = """
import sys, time
import torch
import torch.nn.functional as F
from torch import nn
from gradfuga import diagnose, observe
from gradfuga.report.html import render_html

torch.set_num_threads(1)
torch.manual_seed(0)
layers = int(sys.argv[1])
model = nn.Sequential(*[m for _ in range(layers) for m in (nn.Linear(16, 16), nn.Tanh())])
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
inputs, targets = torch.randn(32, 16), torch.randint(16, (32,))
with observe(model, optimizer) as observer:
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
readings = observer.readings
start = time.process_time()
diagnosis = diagnose(readings)
middle = time.process_time()
page = render_html(diagnosis, [readings])
print(middle - start, time.process_time() - middle, len(page))
"""


def _seconds(command: Sequence[str], times: int) -> float:
    """Return the CPU time that the command takes, of the least disturbed run."""
    taken = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(taken)


def start(*, times: int = 5) -> Iterator[Row]:
    """Measure the commands that need no torch."""
    python = _seconds([sys.executable, "-c", "pass"], times)
    asked = {"--help": ["--help"], "rules": ["rules"], "explain GRD001": ["explain", "GRD001"]}
    for name, arguments in asked.items():
        taken = _seconds([sys.executable, "-m", "gradfuga", *arguments], times)
        yield Row(
            where="command line",
            what=f"gradfuga {name}",
            value=taken,
            unit="CPU s",
            bar=_ANSWER_SECONDS,
            detail=f"python's own start {python:.3f} s; least of {times}",
        )


def large(*, layers: int = 300) -> Iterator[Row]:
    """Measure diagnosis and report of a deep network."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(layers)], check=True, capture_output=True, text=True
    )
    diagnosing, reporting, size = (float(each) for each in done.stdout.split())
    yield Row(
        where=f"{layers} layers",
        what="diagnose and report",
        value=diagnosing + reporting,
        unit="CPU s",
        bar=_DIAGNOSIS_SECONDS,
        detail=f"diagnose {diagnosing:.2f} s, HTML {reporting:.2f} s, {size / 1e6:.1f} MB",
    )

"""Small scripts to try treatments on, and one pool for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from textwrap import dedent

import pytest

from gradfuga._trial.bench import Bench
from gradfuga._trial.departure import departure
from gradfuga._trial.request import Request
from gradfuga._trial.scratch import Place
from gradfuga._trial.workers import AbstractPool, LocalPool
from gradfuga._types import DepthProfile
from gradfuga.experiment import Treatment, TrialRun

# Four classes that a linear model tells apart. With ACTIVATION = "Sigmoid" it stays at chance.
SCRIPT = """
import torch
from torch import nn

ACTIVATION = "Sigmoid"
RATE = 0.1
{seeding}
generator = torch.Generator().manual_seed(0)
x = torch.randn(256, 16, generator=generator)
y = x[:, :4].argmax(dim=1)
layers = []
for _ in range(6):
    layers += [nn.Linear(16, 16), getattr(nn, ACTIVATION)()]
model = nn.Sequential(*layers, nn.Linear(16, 4))
if ACTIVATION == "ReLU":
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
for _ in range(120):
    pick = torch.randint(len(x), (32,))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x[pick]), y[pick])
    loss.backward()
    optimizer.step()
"""
SICK = SCRIPT.format(seeding="torch.manual_seed(0)")
HEALED = SICK.replace('"Sigmoid"', '"ReLU"')


def patched(text: str, title: str = "another source", name: str = "train.py") -> Treatment:
    return Treatment(title, sources=((name, text),))


@pytest.fixture(scope="session")
def pool() -> Iterator[LocalPool]:
    made = LocalPool(2)
    yield made
    made.close()


Run = Callable[..., TrialRun]


@pytest.fixture
def run(tmp_path: Path, pool: LocalPool) -> Run:
    """Run a script once in a child process, from a folder of its own."""

    def once(
        source: str,
        *arguments: str,
        seed: int = 0,
        steps: int | None = 40,
        treatment: Treatment | None = None,
        patience: float = 120.0,
        hurdle: int = 0,
        gated: bool = False,
    ) -> TrialRun:
        (tmp_path / "train.py").write_text(dedent(source), "utf-8")
        place = Place.of("train.py", tmp_path)
        return pool.submit(
            Request(
                place, arguments, treatment, seed, steps, None, patience, hurdle=hurdle, gated=gated
            )
        ).result()

    return once


class Simulated(AbstractPool):
    """Trainings by formula: `progress[title](steps, seed)`, `reach[title]` decades at the start."""

    jobs = 1

    def __init__(self, progress, reach=None, *, known=True, breaks=()):
        self.progress, self.reach, self.known, self.breaks = progress, reach or {}, known, breaks
        self.asked: list[tuple[str, int, int]] = []  # title, seed, steps that were run

    def submit(self, request: Request) -> Future[TrialRun]:
        title = request.treatment.title
        curve = self.progress.get(title, lambda _steps, _seed: 0.0)
        steps = request.steps
        if request.hurdle and not (self.known and curve(request.hurdle, request.seed) > 0.05):
            steps = request.hurdle
        depth = DepthProfile()
        if title in self.reach:
            depth = DepthProfile(("layer",), (self.reach[title],), (0.0,))
        if request.gated and departure(depth) != 0.0:
            steps = 1
        self.asked.append((title, request.seed, steps))
        future: Future[TrialRun] = Future()
        if title in self.breaks:
            future.set_result(TrialRun(request.seed, failed="broken"))
        else:
            score = curve(steps, request.seed)
            future.set_result(
                TrialRun(request.seed, steps=steps, score=score, known=self.known, depth=depth)
            )
        return future

    def close(self) -> None:
        pass

    def bench(self, steps: int = 400, deadline: float | None = None) -> Bench:
        nowhere = Place(Path(), Path(), Path("train.py"))
        like = Request(nowhere, (), None, 0, steps, None, 0.0)
        return Bench(self, like, deadline=deadline, tell=lambda _text: None)

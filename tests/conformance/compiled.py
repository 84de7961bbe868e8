"""Compiled programs: the model, the function of its loss, the optimizer's step, the whole step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._cell import Cell
from ._reference import Batch, Log, Weights, weights_of
from ._task import STEPS, batch, net

Loss = Callable[[Tensor, Tensor], Tensor]
# what is traced, and cut into forward and backward, is that of every backend; generated code is not
BACKEND = "aot_eager"


def train(log: Log, prepare: Callable[[nn.Module], Loss], *, step_too: bool = False) -> Weights:
    torch.compiler.reset()
    model = net()
    loss = prepare(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = torch.compile(optimizer.step, backend=BACKEND) if step_too else optimizer.step
    for number in range(STEPS):
        with log.step(model, batch(number)):
            optimizer.zero_grad()
            loss(*batch(number)).backward()
            log.hold(model)
            step()
    torch.compiler.reset()
    return weights_of(model)


def of_model(model: nn.Module, backend: str = BACKEND) -> Loss:
    called = torch.compile(model, backend=backend)
    return lambda x, y: F.cross_entropy(called(x), y)


def in_place(model: nn.Module) -> Loss:
    model.compile(backend=BACKEND)
    return lambda x, y: F.cross_entropy(model(x), y)


def layers(model: nn.Sequential) -> Loss:
    for place in (0, 2):
        model[place].compile(backend=BACKEND)
    return lambda x, y: F.cross_entropy(model(x), y)


def of_function(model: nn.Module) -> Loss:
    return torch.compile(lambda x, y: F.cross_entropy(model(x), y), backend=BACKEND)


def not_compiled(model: nn.Module) -> Loss:
    return lambda x, y: F.cross_entropy(model(x), y)


def whole_step(log: Log) -> Weights:
    torch.compiler.reset()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @torch.compile(backend=BACKEND)
    def step(given: Batch) -> None:
        x, y = given
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    for number in range(STEPS):
        with log.step(model, batch(number)):
            step(batch(number))
    torch.compiler.reset()
    return weights_of(model)


GROUP = "Compiled"
COMPILED = (
    Cell(
        GROUP,
        "`torch.compile(model)`",
        partial(train, prepare=of_model),
        note="read through [an eager pass](adr/0024-compiled-models-run-once-more.md) more on "
        "sampled steps",
    ),
    Cell(
        GROUP,
        "`torch.compile(model)`, default backend",
        partial(train, prepare=partial(of_model, backend="inductor")),
        note="likewise",
    ),
    Cell(GROUP, "`model.compile()`", partial(train, prepare=in_place), note="likewise"),
    Cell(GROUP, "`compile()` of some layers", partial(train, prepare=layers), note="likewise"),
    Cell(
        GROUP,
        "`torch.compile` of the function of the loss",
        partial(train, prepare=of_function),
        note="inside the function depth is opaque: gain only",
    ),
    Cell(
        GROUP,
        "`torch.compile(optimizer.step)`",
        partial(train, prepare=not_compiled, step_too=True),
    ),
    Cell(GROUP, "`torch.compile` of the whole step", whole_step, note="likewise opaque"),
)

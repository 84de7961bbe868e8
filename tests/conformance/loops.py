"""Loops: how the gradient comes about, and who steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from ._cell import Cell
from ._reference import Log, Weights, clip_by_norm, clip_by_value, weights_of
from ._task import STEPS, batch, cross_entropy, net

BOUND = 0.1


def plain(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def accumulation(log: Log, *, clipped: bool = False) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        parts = [batch(3 * step + part) for part in range(3)]
        with log.step(model, *parts):
            for part in parts:
                (log.loss(model, part)).backward()
            log.hold(model)
            if clipped:
                clip_grad_norm_(model.parameters(), BOUND)
            optimizer.step()
            optimizer.zero_grad()
    return weights_of(model)


def third(model: nn.Module, given: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model, given) / 3


def accumulation_clipped(log: Log) -> Weights:
    return accumulation(log, clipped=True)


def clipped_by_norm(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            clip_grad_norm_(model.parameters(), BOUND)
            optimizer.step()
    return weights_of(model)


def clipped_by_value(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            clip_grad_value_(model.parameters(), 0.02)
            optimizer.step()
    return weights_of(model)


def two_passes(log: Log) -> Weights:
    """Two losses, a backward pass each."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step), batch(step + 100)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            cross_entropy(model, batch(step + 100)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def closure(log: Log) -> Weights:
    """Everything inside the closure, clipping too, as frameworks do."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):

        def evaluate(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model, batch(step))
            loss.backward()
            log.hold(model)
            clip_grad_norm_(model.parameters(), BOUND)
            return loss

        with log.step(model, batch(step)):
            optimizer.step(evaluate)  # type: ignore[arg-type]
    return weights_of(model)


def closure_after_micro_batches(log: Log) -> Weights:
    """The last micro-batch runs inside the closure."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):

        def evaluate(step: int = step) -> Tensor:
            loss = third(model, batch(step))
            loss.backward()
            return loss

        with log.step(model, batch(step), batch(step + 100)):
            third(model, batch(step + 100)).backward()
            optimizer.step(evaluate)  # type: ignore[arg-type]
            optimizer.zero_grad()
    return weights_of(model)


def lbfgs(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    for step in range(STEPS):

        def evaluate(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = cross_entropy(model, batch(step))
            loss.backward()
            return loss

        with log.step(model, batch(step)):
            optimizer.step(evaluate)  # type: ignore[arg-type]
    return weights_of(model)


def in_backward(log: Log) -> Weights:
    """One optimizer a parameter, stepped by a hook as soon as its gradient is there."""
    model = net()
    optimizers = {p: torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in model.parameters()}

    def step_now(parameter: Tensor) -> None:
        optimizers[parameter].step()  # type: ignore[index]
        optimizers[parameter].zero_grad()  # type: ignore[index]

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step_now)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            cross_entropy(model, batch(step)).backward()
    return weights_of(model)


def autograd_grad(log: Log, *, clipped: bool = False) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            given = torch.autograd.grad(cross_entropy(model, batch(step)), [*model.parameters()])
            for parameter, gradient in zip(model.parameters(), given, strict=True):
                parameter.grad = gradient
            log.hold(model)
            if clipped:
                clip_grad_norm_(model.parameters(), BOUND)
            optimizer.step()
    return weights_of(model)


def autograd_grad_clipped(log: Log) -> Weights:
    return autograd_grad(log, clipped=True)


def autograd_grad_by_hand(log: Log) -> Weights:
    """The gradients are never in `.grad`, and there is no optimizer."""
    model = net()
    for step in range(STEPS):
        with log.step(model, batch(step)):
            given = torch.autograd.grad(cross_entropy(model, batch(step)), model.parameters())
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), given, strict=True):
                    parameter.sub_(0.1 * gradient)
    return weights_of(model)


def func_grad(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, weights, (x,)), y)

    for step in range(STEPS):
        with log.step(model, batch(step)):
            weights = {name: p.detach() for name, p in model.named_parameters()}
            given = grad(loss)(weights, *batch(step))
            for name, parameter in model.named_parameters():
                parameter.grad = given[name]
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def per_example(log: Log) -> Weights:
    """Gradients of every example by vmap, their mean handed to the optimizer."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, weights, (x[None],)), y[None])

    for step in range(STEPS):
        with log.step(model, batch(step)):
            weights = {name: p.detach() for name, p in model.named_parameters()}
            given = vmap(grad(loss), in_dims=(None, 0, 0))(weights, *batch(step))
            for name, parameter in model.named_parameters():
                parameter.grad = given[name].mean(0)
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def by_hand(log: Log) -> Weights:
    """Weights as a dictionary, gradients by torch.func, no optimizer."""
    model = net()
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, weights, (x,)), y)

    for step in range(STEPS):
        with log.step(model, batch(step)):
            given = grad(loss)(weights, *batch(step))
            weights = {name: w - 0.1 * given[name] for name, w in weights.items()}
    return weights


def backward_by_hand(log: Log) -> Weights:
    """A module, its backward pass, and no optimizer."""
    model = net()
    for step in range(STEPS):
        with log.step(model, batch(step)):
            x, y = batch(step)
            F.cross_entropy(model(x), y).backward()
            log.hold(model)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(0.1 * parameter.grad)
                    parameter.grad = None
    return weights_of(model)


GROUP = "Loops"
LOOPS = (
    Cell(GROUP, "plain loop", plain),
    Cell(GROUP, "gradient accumulation", accumulation, loss=third),
    Cell(GROUP, "`clip_grad_norm_`", clipped_by_norm, clip=clip_by_norm(BOUND)),
    Cell(GROUP, "`clip_grad_value_`", clipped_by_value, clip=clip_by_value(0.02)),
    Cell(
        GROUP,
        "accumulation, then `clip_grad_norm_`",
        accumulation_clipped,
        loss=third,
        clip=clip_by_norm(BOUND),
    ),
    Cell(GROUP, "several backward passes a step", two_passes),
    Cell(GROUP, "closure that clips", closure, clip=clip_by_norm(BOUND)),
    Cell(
        GROUP, "micro-batches, the last one in a closure", closure_after_micro_batches, loss=third
    ),
    Cell(
        GROUP,
        "LBFGS",
        lbfgs,
        note="the gradient is that of the first evaluation, the update that of the whole step",
    ),
    Cell(
        GROUP,
        "optimizers stepped by hooks inside the backward pass",
        in_backward,
        note="all of them are one training",
    ),
    Cell(
        GROUP,
        "`torch.autograd.grad`, handed to an optimizer",
        autograd_grad,
        note="where `p.grad` is the tensor that was returned; a copy has no loss, no depth",
    ),
    Cell(
        GROUP,
        "`torch.autograd.grad`, handed over, then clipped",
        autograd_grad_clipped,
        clip=clip_by_norm(BOUND),
    ),
    Cell(
        GROUP,
        "`torch.autograd.grad`, weights updated by hand",
        autograd_grad_by_hand,
        note="two weights or more, where no optimizer exists",
    ),
    Cell(
        GROUP,
        "`torch.func.grad` of `functional_call`",
        func_grad,
        tape=False,
        note="no `backward` is called: no loss, no depth",
    ),
    Cell(
        GROUP,
        "gradients of each example by `vmap`",
        per_example,
        tape=False,
        note="no `backward` is called: no loss, no depth",
    ),
    Cell(
        GROUP,
        "gradients by `torch.func`, weights updated by hand",
        by_hand,
        seen=False,
        tape=False,
        note="neither `backward` nor an optimizer: the diagnosis says that no step was seen",
    ),
    Cell(
        GROUP,
        "`backward`, weights updated by hand",
        backward_by_hand,
        note="two weights or more, where no optimizer exists",
    ),
)

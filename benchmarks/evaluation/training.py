"""The loop: one configuration trained once, as drawn, repaired in its path, or changed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor, nn

from . import tasks
from .configuration import Configuration, Decoy, Fault
from .networks import Repair, build


class Change(StrEnum):
    """What a control changes besides the gradient path."""

    NONE = "none"
    UNDO = "undo_fault"
    RATE_UP = "rate_up"
    RATE_DOWN = "rate_down"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training went.

    Attributes:
        progress: 1 - loss / loss of the best constant, at each step.
        reach: decades that the gradient gains from the output to the hidden layer where it
            differs most, before the first step; NaN where nothing arrives, 0 if not probed.
        dead: whether a hidden layer gets no gradient at all at the end.
    """

    progress: np.ndarray
    reach: float
    dead: bool

    @property
    def finite(self) -> bool:
        """Whether no loss was lost to overflow."""
        return bool(np.isfinite(self.progress).all())

    @property
    def final(self) -> float:
        """Mean progress over the last tenth, at least eight steps."""
        if not self.finite:
            return -math.inf
        return float(self.progress[-max(8, len(self.progress) // 10) :].mean())

    def time_to(self, level: float) -> float:
        """Step at which the trailing mean first reaches `level`; infinity where it never does."""
        window = max(5, len(self.progress) // 20)
        trailing = np.convolve(self.progress, np.full(window, 1 / window), mode="valid")
        above = np.flatnonzero(trailing >= level)
        return float(above[0] + window) if len(above) else math.inf


def train(
    c: Configuration,
    seed: int,
    *,
    repair: Repair = Repair.NONE,
    change: Change = Change.NONE,
    probed: bool = False,
) -> Outcome:
    """Train a configuration; the same seed gives the same weights and the same batches.

    A probed training measures its own reach before and after; an observed one must not be probed.
    """
    task = tasks.load(c.task)
    fault = Fault.NONE if change is Change.UNDO else c.fault
    torch.manual_seed(seed)
    inputs, targets, unit = _samples(c, task, fault, seed)
    model = build(c, task, repair)
    if c.decoy is Decoy.FROZEN_STEM:
        next(model.parameters()).requires_grad_(False)
    if fault is Fault.FROZEN:
        model.requires_grad_(False)
        model.get_parameter("head.bias").requires_grad_(True)
    factor = {Decoy.SMALL_LOSS: 1e-6, Decoy.LARGE_LOSS: 1e4}.get(c.decoy, 1.0)
    optimizer = _optimizer(c, model, fault, change, factor)
    warm = 0.2 * c.steps if c.decoy is Decoy.WARM_UP else 1.0
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / warm))
    pieces = 4 if c.decoy is Decoy.ACCUMULATED else 1
    bounds = {Fault.CLIP: 1e-6}.get(fault, 1.0 if c.decoy is Decoy.CLIPPED else None)
    generator = torch.Generator().manual_seed(seed)
    probe = torch.randint(len(inputs), (64,), generator=generator)
    reach = _reach(model, task, inputs[probe], targets[probe]) if probed else 0.0
    losses = []
    for _ in range(c.steps):
        if fault is not Fault.NOT_ZEROED:
            optimizer.zero_grad()
        total = 0.0
        for pick in torch.randint(len(inputs), (pieces, c.batch), generator=generator):
            loss = task.loss(model(inputs[pick]), targets[pick]) / pieces
            (factor * loss).backward()
            total += loss.item()
        if bounds is not None:
            nn.utils.clip_grad_norm_(model.parameters(), bounds * factor)
        optimizer.step()
        scheduler.step()
        losses.append(total)
        if not math.isfinite(total):
            break
    dead = probed and math.isnan(_reach(model, task, inputs[probe], targets[probe]))
    baseline = task.baseline(targets / unit if unit != 1.0 else targets) * unit**2
    return Outcome(1.0 - np.asarray(losses) / baseline, reach, dead)


def _samples(
    c: Configuration, task: tasks.Task, fault: Fault, seed: int
) -> tuple[Tensor, Tensor, float]:
    generator = torch.Generator().manual_seed(1000 + seed)
    inputs, targets, unit = task.inputs, task.targets, 1.0
    if c.decoy is Decoy.FEW:
        pick = torch.randperm(len(inputs), generator=generator)[:64]
        inputs, targets = inputs[pick], targets[pick]
    if fault is Fault.SHUFFLED:
        targets = targets[torch.randperm(len(targets), generator=generator)]
    if c.decoy is Decoy.NOISE:
        wrong = torch.rand(len(targets), generator=generator) < 0.4
        others = targets[torch.randperm(len(targets), generator=generator)]
        targets = torch.where(wrong.view(-1, *[1] * (targets.dim() - 1)), others, targets)
    if fault is Fault.TARGET_SCALE and not task.has_classes:
        unit = 1e5
        targets = unit * (targets + 1.0)
    return inputs, targets, unit


def _optimizer(
    c: Configuration, model: nn.Module, fault: Fault, change: Change, factor: float
) -> torch.optim.Optimizer:
    rate = c.rate * {Fault.TINY_RATE: 1e-5, Fault.HUGE_RATE: 300.0}.get(fault, 1.0)
    rate *= {Change.RATE_UP: 10.0, Change.RATE_DOWN: 0.1}.get(change, 1.0)
    decay = 0.05 / c.rate if fault is Fault.DECAY else 0.0
    scaled = rate / factor
    epsilon = max(1e-8 * min(factor, 1.0), 1e-15)
    parameters: Iterable[Tensor] = model.parameters()
    match c.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, lr=scaled, weight_decay=decay * factor)
        case "momentum" | "nesterov":
            return torch.optim.SGD(
                parameters,
                lr=scaled,
                momentum=0.9,
                weight_decay=decay * factor,
                nesterov=c.optimizer == "nesterov",
            )
        case "adam":
            return torch.optim.Adam(parameters, lr=rate, eps=epsilon, weight_decay=decay * factor)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, eps=epsilon, weight_decay=decay or 0.01)
        case "nadam":
            return torch.optim.NAdam(parameters, lr=rate, eps=epsilon, weight_decay=decay * factor)
        case "rmsprop":
            return torch.optim.RMSprop(
                parameters, lr=rate, eps=epsilon, weight_decay=decay * factor
            )
        case "adagrad":
            return torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay * factor)
        case _:
            raise ValueError(f"expected a known optimizer, got '{c.optimizer}'")


def _reach(model: nn.Module, task: tasks.Task, inputs: Tensor, targets: Tensor) -> float:
    """Measure the gradient at every linear and convolutional output against that at the head's."""
    outputs: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        for module in model.modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]
    state = torch.get_rng_state()
    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        answer = model(inputs.requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    loss = task.loss(answer, targets)
    gradients = torch.autograd.grad(loss, [*outputs, answer], allow_unused=True)
    inputs.requires_grad_(False)
    for name, buffer in model.named_buffers():
        buffer.copy_(saved[name])
    torch.set_rng_state(state)
    norms = [float(g.double().norm()) for g in gradients if g is not None]
    if not all(map(math.isfinite, norms)) or norms[-1] == 0.0:
        return 0.0
    if min(norms) == 0.0:
        return math.nan
    return max((math.log10(norm / norms[-1]) for norm in norms), key=abs)

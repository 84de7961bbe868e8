"""Models: what is tied, frozen, unused, wrapped, copied, moved or recomputed."""

from __future__ import annotations

import copy
import io
import pickle
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from ._cell import Cell
from ._reference import Batch, Log, Weights, weights_of
from ._task import STEPS, batch, cross_entropy, net


class Tied(nn.Module):
    """One matrix in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 6, bias=False)
        self.head = nn.Linear(6, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(x)))[:, :3]


class Unused(nn.Module):
    """A layer that no forward pass visits."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.spare, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))


class Adapted(nn.Module):
    """A frozen layer with a low-rank update that starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.body.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, 6))
        self.up = nn.Parameter(torch.zeros(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x) + x @ self.down.T @ self.up.T))


class Recomputed(nn.Module):
    """A body whose activations are computed twice."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x)
        if torch.is_grad_enabled() and hidden.dtype == torch.float32:  # the truth needs no saving
            hidden = checkpoint(self.inner, hidden, use_reentrant=self.reentrant)
        else:
            hidden = self.inner(hidden)
        return self.head(hidden)

    def inner(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.body(hidden))


def of(build: type[nn.Module], log: Log, **settings: bool) -> Weights:
    torch.manual_seed(0)
    model = build(**settings)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def averaged(log: Log, *, moving: bool) -> Weights:
    """A copy follows the weights, and is asked for predictions on the way."""
    model = net()
    average = get_ema_multi_avg_fn(0.9) if moving else None
    follower = AveragedModel(model, multi_avg_fn=average)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            optimizer.step()
        follower.update_parameters(model)
        with torch.no_grad():
            follower(batch(step)[0])
    return weights_of(model)


def teacher(log: Log) -> Weights:
    """A frozen copy answers within the same forward pass."""
    model, other = net(), net(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            with torch.no_grad():
                other(batch(step)[0])
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def moved(log: Log) -> Weights:
    """The model changes its dtype between two steps, as a move between devices does."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        if step == 2:
            model.to(torch.float64)
        x, y = batch(step)
        x = x.to(model[0].weight.dtype)  # type: ignore[arg-type]
        with log.step(model, (x, y)):
            optimizer.zero_grad()
            cross_entropy(model, (x, y)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


class Wrapper(nn.Module):
    """What a framework puts around a model."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)


def wrapped(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    called: nn.Module = model
    for step in range(STEPS):
        if step == 2:
            called = Wrapper(model)
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(called, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def copied(log: Log) -> Weights:
    """Copied, pickled and saved at every step while it is observed."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            loss = cross_entropy(model, batch(step))
            pickle.loads(pickle.dumps(model))
            loss.backward()
            log.hold(model)
            copy.deepcopy((model, optimizer))
            optimizer.step()
            torch.save({"model": model, "optimizer": optimizer.state_dict()}, io.BytesIO())
    return weights_of(model)


def in_parallel(log: Log) -> Weights:
    """Without an accelerator nn.DataParallel runs its module as it is."""
    model = net()
    parallel = nn.DataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(parallel, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def penalized(model: nn.Module, given: Batch) -> Tensor:
    x, y = given
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(model(x), y)
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    return loss + slope.square().sum()


def gradient_penalty(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            penalized(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


GROUP = "Models"
MODELS = (
    Cell(GROUP, "tied weights", partial(of, Tied), note="counted once, under their first name"),
    Cell(GROUP, "frozen weights and a low-rank update that starts at zero", partial(of, Adapted)),
    Cell(
        GROUP,
        "layers that are not used",
        partial(of, Unused),
        note="none, counted and named as unreached",
    ),
    Cell(GROUP, "activation checkpointing", partial(of, Recomputed, reentrant=False)),
    Cell(
        GROUP,
        "activation checkpointing, reentrant",
        partial(of, Recomputed, reentrant=True),
        note="inside the checkpoint depth is opaque: gain only",
    ),
    Cell(GROUP, "gradient penalty (double backward)", gradient_penalty, loss=penalized),
    Cell(GROUP, "moving average of the weights (EMA)", partial(averaged, moving=True)),
    Cell(GROUP, "average of the weights (SWA)", partial(averaged, moving=False)),
    Cell(GROUP, "teacher in the same forward pass", teacher),
    Cell(GROUP, "moved or converted after attaching", moved),
    Cell(GROUP, "wrapped after attaching", wrapped),
    Cell(GROUP, "copied, pickled and saved while observed", copied),
    Cell(
        GROUP,
        "`nn.DataParallel` without an accelerator",
        in_parallel,
        note="over several devices `observe(model)` refuses it: use DistributedDataParallel",
    ),
)

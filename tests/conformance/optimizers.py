"""Optimizers: implementations, several at once, groups, and kinds of parameters."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ._cell import Cell
from ._reference import Batch, Log, Weights, weights_of
from ._task import STEPS, batch, cross_entropy, net


def adam(log: Log, **settings: object) -> Weights:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), **{"lr": 0.01, **settings})  # type: ignore[arg-type]
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


def several(log: Log) -> Weights:
    """Two optimizers share one model and one backward pass."""
    model = net()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.AdamW(model[2].parameters(), lr=0.01)
    for step in range(STEPS):
        with log.step(model, batch(step)):
            first.zero_grad()
            second.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            first.step()
            second.step()
    return weights_of(model)


def groups(log: Log) -> Weights:
    model = net()
    optimizer = torch.optim.AdamW(
        [
            {"params": model[0].parameters(), "lr": 1e-3, "weight_decay": 0.1},
            {"params": model[2].parameters(), "lr": 1e-2, "weight_decay": 0.0},
        ]
    )
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


class Words(nn.Module):
    """An embedding whose gradient is sparse, rows of which occur twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 6, sparse=True), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(tokens).mean(1)))


def tokens(step: int) -> Batch:
    chance = torch.Generator().manual_seed(step)
    return torch.randint(9, (12, 4), generator=chance), torch.arange(12) % 3


def sparse(log: Log) -> Weights:
    torch.manual_seed(0)
    model = Words()
    rare = torch.optim.SparseAdam(model.embed.parameters(), lr=0.05)
    dense = torch.optim.Adam(model.head.parameters(), lr=0.05)
    for step in range(STEPS):
        with log.step(model, tokens(step)):
            rare.zero_grad()
            dense.zero_grad()
            cross_entropy(model, tokens(step)).backward()
            log.hold(model)
            rare.step()
            dense.step()
    return weights_of(model)


class Waves(nn.Module):
    """A network with complex weights and a real output."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 8, dtype=torch.complex64)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(torch.complex(x, 0.5 * x)).abs())


def waves(log: Log, *, name: str) -> Weights:
    torch.manual_seed(0)
    model = Waves()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.05)
    log.twin = Waves().to(torch.complex128)  # `.double()` leaves complex weights as they are
    log.twin.head = nn.Linear(8, 3).double()
    for step in range(STEPS):
        with log.step(model, batch(step)):
            optimizer.zero_grad()
            cross_entropy(model, batch(step)).backward()
            log.hold(model)
            optimizer.step()
    return weights_of(model)


GROUP = "Optimizers and parameters"
OPTIMIZERS = (
    Cell(GROUP, "`foreach=True`", partial(adam, foreach=True)),
    Cell(GROUP, "`foreach=False`", partial(adam, foreach=False)),
    Cell(GROUP, "`fused=True`", partial(adam, fused=True)),
    Cell(
        GROUP,
        "learning rate as a tensor",
        partial(adam, lr=torch.tensor(0.01), foreach=False),
        note="`capturable=True` needs an accelerator, and is not tried here",
    ),
    Cell(GROUP, "`amsgrad`, weight decay", partial(adam, amsgrad=True, weight_decay=0.1)),
    Cell(GROUP, "several optimizers on one model", several),
    Cell(GROUP, "parameter groups", groups),
    Cell(GROUP, "sparse gradients", sparse, note="of the gradient's coalesced values"),
    Cell(GROUP, "complex parameters under SGD", partial(waves, name="SGD")),
    Cell(GROUP, "complex parameters under Adam", partial(waves, name="Adam")),
)

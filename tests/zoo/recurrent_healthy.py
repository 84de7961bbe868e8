"""Healthy recurrent trainings whose gradient fades, is cut, frozen or clipped, as it may."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from ._data import class_progress, value_progress
from ._member import Member, healthy
from .recurrent_sick import DISTRACTORS, TOKENS, Batch, Reader, Writer, fit, keep, recall


def recent(size: int, length: int = 40) -> Batch:
    """Return sequences `[B, T, 4]` whose class is decided by their last three steps."""
    x = torch.randn(size, length, 4)
    return x, (x[:, -3:, 0].sum(dim=1) > 0).long()


class Numbers(nn.Module):
    """A recurrent layer on numbers, and a head on its last output."""

    def __init__(self, kind: type[nn.RNNBase], hidden: int = 32) -> None:
        super().__init__()
        self.recurrent = kind(4, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


def short_memory(
    seed: int, *, kind: type[nn.RNNBase] = nn.LSTM, clip: float | None = None
) -> float:
    """The gradient fades long before the start of the sequence, and nothing is lost by it."""
    torch.manual_seed(seed)
    model = Numbers(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, recent, steps=150, optimizer=optimizer, clip=clip)


class Packed(nn.Module):
    """Sequences of different lengths, packed; the head reads each one's own last state."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(3, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, sequences: list[Tensor]) -> Tensor:
        packed = pack_sequence(sequences, enforce_sorted=False)
        return self.head(self.recurrent(packed)[1][-1])


def packed_sequences(seed: int) -> float:
    """Which of three numbers is the largest on average? Lengths of 5 to 30."""
    torch.manual_seed(seed)
    model = Packed()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def draw(size: int) -> tuple[list[Tensor], Tensor]:
        lengths = torch.randint(5, 31, (size,)).tolist()
        labels = torch.randint(0, 3, (size,))
        offsets = 0.8 * F.one_hot(labels, 3)
        return [torch.randn(n, 3) + o for n, o in zip(lengths, offsets, strict=True)], labels

    for _ in range(120):
        x, y = draw(32)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        x, y = draw(512)
        return class_progress(model(x), y)


class BothWays(nn.Module):
    """Two directions; the head reads both at the last position."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        self.recurrent = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat(tuple(self.recurrent(self.embed(x))[1][0]), dim=-1))


def both_ways(seed: int) -> float:
    """The first token again: far for one direction, next to the other one's end."""
    torch.manual_seed(seed)
    model = BothWays()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, partial(recall, length=40), steps=100, optimizer=optimizer)


def converged(seed: int) -> float:
    """Trained on until next to nothing is left of the loss, nor of the gradient."""
    torch.manual_seed(seed)
    model = Reader(nn.GRU)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, partial(recall, length=6), steps=500, optimizer=optimizer)


class EchoState(nn.Module):
    """A frozen random recurrence with a spectral radius of 0.9, and a readout that is trained."""

    def __init__(self, units: int = 64) -> None:
        super().__init__()
        self.recurrent = nn.RNN(1, units, batch_first=True)
        for weight in self.recurrent.parameters():
            weight.requires_grad_(False)
        matrix = self.recurrent.weight_hh_l0
        matrix.normal_()
        matrix.mul_(0.9 / torch.linalg.eigvals(matrix).abs().max())
        self.readout = nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.recurrent(x)[0][:, -1])


def waves(size: int, length: int = 30) -> Batch:
    """Return pieces of sine waves `[B, T, 1]` of any phase, and the value that follows."""
    phase = 2.0 * math.pi * torch.rand(size, 1)
    frequency = 0.2 + 0.3 * torch.rand(size, 1)
    wave = torch.sin(phase + frequency * torch.arange(length + 1)) + 0.05 * torch.randn(
        size, length + 1
    )
    return wave[:, :-1, None], wave[:, -1:]


def regress(model: nn.Module, *, steps: int, rate: float) -> float:
    """Fit the next value of the waves."""
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=rate)
    for _ in range(steps):
        x, y = waves(32)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        x, y = waves(512)
        return value_progress(model(x), y)


def echo_state(seed: int) -> float:
    """Nothing flows through time because nothing there is trained."""
    torch.manual_seed(seed)
    return regress(EchoState(), steps=200, rate=1e-2)


class Forecaster(nn.Module):
    """A loop over a cell of torch; the head reads its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(1, 24)
        self.head = nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(dim=1):
            state = self.cell(step, state)
        return self.head(state[0])


def forecast(seed: int) -> float:
    """The next value of a wave needs few of the thirty before it."""
    torch.manual_seed(seed)
    return regress(Forecaster(), steps=150, rate=1e-2)


def convolution(seed: int) -> float:
    """One dimension of convolutions has no recurrence to forget with."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv1d(4, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 40, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def draw(size: int) -> Batch:
        x, y = recent(size)
        return x.transpose(1, 2), y

    return fit(model, draw, steps=150, optimizer=optimizer)


class Attends(nn.Module):
    """A transformer's layer over all steps, which reads the last."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 32)
        self.place = nn.Parameter(0.1 * torch.randn(40, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x) + self.place)[:, -1])


def transformer(seed: int) -> float:
    """The first of forty tokens is one step of attention away."""
    torch.manual_seed(seed)
    model = Attends()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return fit(model, partial(recall, length=40), steps=150, optimizer=optimizer)


def chrono(seed: int) -> float:
    """A GRU that was told to keep: the control of the sick one, observed."""
    torch.manual_seed(seed)
    model = Reader(nn.GRU)
    keep(model.recurrent, 4.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, partial(recall, length=60), steps=150, optimizer=optimizer)


def echoes(seed: int) -> float:
    """Blanks, and now and then the token that is three steps back: a short memory will do."""
    torch.manual_seed(seed)
    model = Writer(nn.RNN)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def draw(size: int) -> Batch:
        x = torch.randint(0, TOKENS + DISTRACTORS, (size, 40))
        asked = x[:, 3:] >= TOKENS + DISTRACTORS - 2
        wanted = torch.full_like(x, TOKENS)
        wanted[:, 3:] = torch.where(asked & (x[:, :-3] < TOKENS), x[:, :-3], TOKENS)
        return x, wanted

    return fit(model, draw, steps=400, optimizer=optimizer)


HEALTHY_RECURRENT: tuple[Member, ...] = tuple(
    healthy(train, name=f"recurrent-{name}", reaches=reaches)
    for name, train, reaches in (
        ("lstm-short-memory", short_memory, 0.6),
        ("tanh-short-memory-clipped", partial(short_memory, kind=nn.RNN, clip=0.1), 0.7),
        ("gru-packed", packed_sequences, 0.5),
        ("lstm-both-ways", both_ways, 0.9),
        ("gru-converged", converged, 0.99),
        ("echo-state", echo_state, 0.8),
        ("lstm-cell-forecast", forecast, 0.8),
        ("convolution-over-time", convolution, 0.6),
        ("transformer", transformer, 0.9),
        ("gru-keeps", chrono, 0.9),
        ("tanh-echoes", echoes, 0.7),
    )
)

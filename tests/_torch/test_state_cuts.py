"""The gradient at the joint state of hand-written loops, against autograd in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from gradfuga import observe
from gradfuga._torch import chain_probe
from gradfuga._types import Kind

T, B, D, H = 14, 6, 4, 10
GATES = ("z", "r", "n", "i", "f", "o")


class Loop(nn.Module):
    """Runs `step` from a state of zeros; the first part of the state is read."""

    parts = 1

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(H, 2)
        self.into = nn.Linear(D, H)
        self.hidden = nn.Linear(H, H, bias=False)
        for name in GATES:
            setattr(self, name, nn.Linear(D + H, H))
        self.square = nn.Parameter(0.9 * torch.randn(H, H) / H**0.5)
        self.decay = nn.Parameter(0.4 + 0.5 * torch.rand(H))

    def gate(self, name, x, h):
        return torch.sigmoid(getattr(self, name)(torch.cat([x, h], 1)))

    def start(self, x):
        return (x.new_zeros(len(x), H),) * self.parts

    def forward(self, x):
        state = self.start(x)
        for t in range(x.shape[1]):
            state = self.step(x[:, t], *state)
        return self.head(state[0])


class Leaky(Loop):
    def step(self, x, h):
        return (0.8 * h + 0.2 * torch.tanh(self.into(x) + self.hidden(h)),)


class Concatenated(Loop):
    def step(self, x, h):
        return (torch.tanh(self.n(torch.cat([x, h], 1))),)


class Einsum(Loop):
    def step(self, x, h):
        return (torch.einsum("bh,hk->bk", h, self.square) + self.into(x),)


class Gru(Loop):
    kept = "z"

    def step(self, x, h):
        z, r = self.gate("z", x, h), self.gate("r", x, h)
        new = torch.tanh(self.n(torch.cat([x, r * h], 1)))
        return ((1 - z) * h + z * new,)


class Lstm(Loop):
    parts, kept = 2, "f"

    def step(self, x, h, c):
        f, i = self.gate("f", x, h), self.gate("i", x, h)
        c = f * c + i * torch.tanh(self.n(torch.cat([x, h], 1)))
        return self.gate("o", x, h) * torch.tanh(c), c


class Diagonal(Loop):
    def step(self, x, h):
        return (self.decay * h + self.into(x),)


class Exponential(Loop):
    """The decay is worked out of its parameter once, before the loop."""

    def start(self, x):
        self.rate = torch.exp(-torch.exp(self.decay))
        return super().start(x)

    def step(self, x, h):
        return (self.rate * h + self.into(x),)


class Masked(Loop):
    def step(self, x, h):
        new = torch.tanh(self.into(x) + self.hidden(h))
        return (torch.where(x[:, :1] > -1.0, new, h),)


def curve(model, x, monkeypatch):
    """Return the measured curve, the readings, and the cotangent that was drawn."""
    drawn = []
    draw = chain_probe._cotangents

    def seen(*args):
        found = draw(*args)
        drawn.extend(held[0] for held in found.values())
        return found

    monkeypatch.setattr(chain_probe, "_cotangents", seen)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with observe(model, optimizer, every=1) as observer:
        model(x).square().mean().backward()
        optimizer.step()
    (path,) = observer.readings.paths(Kind.ACTIVATION_GRAD, "lag_norm.1")
    (cotangent,) = drawn
    return path, observer.readings, cotangent


def by_autograd(model, x, cotangent):
    """Return the gradient's norm at the joint state for every lag, median over the examples."""
    model, x = copy.deepcopy(model).double(), x.double()
    state, states = tuple(model.start(x)), []
    for t in range(T - 1):
        state = tuple(part.clone() for part in model.step(x[:, t], *state))
        states.append(state)
    parts = [part for each in states[:-1] for part in each]
    found = torch.autograd.grad(state[0], parts, cotangent.double())
    joint = [torch.cat(found[k : k + model.parts], 1) for k in range(0, len(found), model.parts)]
    return [float(np.median(each.norm(dim=1))) for each in reversed(joint)]


@pytest.mark.parametrize(
    "kind", [Leaky, Concatenated, Einsum, Gru, Lstm, Diagonal, Exponential, Masked]
)
def test_the_gradient_at_every_lag_is_that_of_autograd(kind, monkeypatch):
    torch.manual_seed(0)
    model, x = kind(), torch.randn(B, T, D)
    before = copy.deepcopy(model)
    path, readings, cotangent = curve(model, x, monkeypatch)
    wanted = by_autograd(before, x, cotangent)
    assert len(wanted) == T - 2
    for lag in (1, 2, 3, 7, T - 2):
        found = readings.series(path, Kind.ACTIVATION_GRAD, f"lag_norm.{lag}")[1][0]
        assert found == pytest.approx(wanted[lag - 1], rel=2e-5)  # float32 over 12 steps


@pytest.mark.parametrize(("kind", "less"), [(Gru, True), (Lstm, False)])
def test_the_gate_that_keeps_the_state_is_found(kind, less, monkeypatch):
    torch.manual_seed(0)
    model, x = kind(), torch.randn(B, T, D)
    with torch.no_grad():
        getattr(model, kind.kept).bias.fill_(-2.0 if less else 2.0)
        model.r.bias.fill_(-4.0)  # the reset gate is closed, and keeps nothing
    path, readings, _ = curve(model, x, monkeypatch)
    keep = readings.series(path, Kind.ACTIVATION, "gate_keep")[1][0]
    assert keep == pytest.approx(1.0 / (1.0 + np.exp(-2.0)), abs=0.05)


def test_vectors_beside_a_recurrent_matrix_are_no_recurrences_of_their_own():
    model = nn.LSTMCell(D, H)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    state = None
    with observe(model, optimizer, every=1) as observer:
        for x in torch.randn(T, B, D):
            state = model(x, state)
        state[0].square().mean().backward()
        optimizer.step()
    assert observer.readings.paths(Kind.ACTIVATION_GRAD, "lag_norm.1") == ("weight_hh",)

"""Half-precision weights: which updates their format swallows, against exact arithmetic."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.parameters import before_step
from gradfuga._torch.rounding import swallowed_shares
from gradfuga._torch.second_moments import adagrad_shares


def stepped(weight, gradient, make):
    """Return what is read of one step on a bfloat16 weight, and the weight after it."""
    parameter = nn.Parameter(weight.to(torch.bfloat16))
    optimizer = make([parameter])
    parameter.grad = gradient.to(torch.bfloat16)
    before = before_step([parameter], {})
    optimizer.step()
    (share,), (wanted,) = swallowed_shares(optimizer, before)
    return share, wanted, before.weights[0], parameter


@pytest.mark.parametrize(
    ("relative", "lost"), [(2.0**-9.1, 1.0), (1e-3, 1.0), (2.0**-7.9, 0.0), (1e-2, 0.0)]
)
def test_a_relative_update_below_two_to_the_minus_nine_is_always_lost(relative, lost):
    """bfloat16 has 8 significant bits: between 2^-9 and 2^-8 it depends on the weight (O15)."""
    weight = torch.linspace(1.0, 2.0, 129)[:128]
    share, *_ = stepped(weight, weight, lambda p: torch.optim.SGD(p, lr=relative))
    assert share == lost


@pytest.mark.parametrize("name", ["SGD", "momentum", "Adam", "AdamW", "RMSprop"])
def test_the_share_is_counted_element_by_element(name):
    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(400, generator=chance)
    gradient = torch.randn(400, generator=chance) * (torch.arange(400) % 3 > 0)
    make = {
        "momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
        "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-4),
    }.get(name, lambda p: getattr(torch.optim, name)(p, lr=1e-3))
    share, wanted, old, new = stepped(weight, gradient, make)
    moving = gradient.bfloat16() != 0
    expected = float(((old == new) & moving).sum() / moving.sum())
    assert 0.1 < expected < 1.0
    assert share == pytest.approx(expected, abs=1e-9)
    # the first step: SGD moves by the gradient, Adam by its sign, RMSprop by ten times that
    signs = name in {"Adam", "AdamW", "RMSprop"}
    length = moving.sum() ** 0.5 if signs else gradient.norm()
    assert wanted == pytest.approx(1e-3 * float(length), rel=0.01)


def test_full_precision_weights_are_not_asked():
    parameter = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter], lr=1e-9)
    parameter.grad = torch.ones(4)
    before = before_step([parameter], {})
    optimizer.step()
    assert swallowed_shares(optimizer, before) == ([None], [None])


def test_a_thousand_steps_of_a_thousandth_lead_nowhere_and_all_are_seen():
    """1.0 + 1000 x 1e-3 stays 1.0 in bfloat16."""
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with observe(model, optimizer, every=250) as observer:
        for _ in range(1000):
            optimizer.zero_grad()
            (-model(torch.ones(1, 1, dtype=torch.bfloat16))).sum().backward()
            optimizer.step()
    assert model.weight.item() == 1.0
    readings = observer.readings
    assert readings.series("weight", "update", "swallowed")[1].tolist() == [1.0] * 4
    assert readings.series("weight", "update", "norm")[1].tolist() == [0.0] * 4
    assert readings.series("weight", "update", "wanted_norm")[1] == pytest.approx(1e-3, rel=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1e-8, 1e-9, 1e-10])
def test_adam_under_a_constant_gradient_steps_by_g_over_g_plus_epsilon(size):
    """|du| / lr = g / (g + eps), exactly (O15); the attenuation that is read is that."""
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=1e-3, eps=1e-8)
    with observe(optimizer=optimizer, every=1) as observer:
        for _ in range(5):
            optimizer.zero_grad()
            (size * parameter.sum()).backward()
            optimizer.step()
    (path,) = observer.readings.paths("update", "attenuation")
    expected = size / (size + 1e-8)
    moved = observer.readings.series(path, "update", "norm")[1]
    assert moved == pytest.approx(1e-3 * expected * math.sqrt(3), rel=1e-6)
    read = observer.readings.series(path, "update", "attenuation")[1]
    assert read == pytest.approx(expected, rel=1e-6)


def test_adagrad_under_a_steady_gradient_keeps_one_over_the_root_of_the_steps():
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = torch.optim.Adagrad([parameter], lr=1.0)
    for step in range(1, 10):
        parameter.grad = torch.tensor([3.0, -1.0, 0.0, 2.0], dtype=torch.float64)
        optimizer.step()
        (share,) = adagrad_shares(optimizer, [parameter])
        assert float(share) == pytest.approx(step**-0.5, rel=1e-12)
    assert not adagrad_shares(torch.optim.SGD([parameter], lr=1.0), [parameter])


def test_a_loss_in_bfloat16_is_observed_without_touching_the_weights():
    def train(observed):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(torch.bfloat16)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        x, y = torch.randn(16, 4).bfloat16(), torch.arange(16) % 2
        watch = observe(model, optimizer, every=1) if observed else None
        if watch is not None:
            watch.__enter__()
        for _ in range(10):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if watch is not None:
            watch.close()
        return [p.detach().clone() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(train(True), train(False), strict=True))

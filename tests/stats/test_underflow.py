"""What underflow takes from a gradient, against the test of two loss scales."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._contracts import NodeView
from gradfuga._observe import observe
from gradfuga.stats.underflow import STATISTIC

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 4


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)
    )


def hidden_gradient(model, scale):
    """The gradient that leaves the head, in float16, of a loss times `scale`."""
    model = copy.deepcopy(model)
    seen = []
    model[3].register_full_backward_hook(lambda module, into, out: seen.append(out[0]))
    with torch.autocast("cpu", dtype=torch.float16):
        loss = 1e-5 * F.cross_entropy(model(X), LABELS)
    (scale * loss).backward()
    (gradient,) = seen
    assert gradient.dtype is torch.float16
    return gradient


def test_the_share_is_that_of_two_loss_scales():
    """Zero at one scale and not zero at 4096 times that: lost to the format (exact)."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with observe(model, optimizer, every=1) as observer:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = 1e-5 * F.cross_entropy(model(X), LABELS)
        loss.backward()
        optimizer.step()
    low, high = hidden_gradient(model, 1.0), hidden_gradient(model, 4096.0)
    victims = (low == 0) & (high != 0)
    share = float(victims.sum() / (high != 0).sum())
    norm = float((high.double() * victims).norm() / high.double().norm())
    assert 0.05 < share < 0.95  # neither nothing nor everything
    read = observer.readings
    # at the lower scale the gradient that comes into the head is rounded to float16 already
    assert read.series("4", "activation", "flushed_share")[1][0] == pytest.approx(share, abs=0.1)
    assert read.series("4", "activation", "flushed_norm")[1][0] == pytest.approx(norm, abs=0.1)


def view(name, grad_output, grad_input, **saved):
    slots = (None, grad_input) if name.startswith("Addmm") else (grad_input,)
    return NodeView(name, saved.get, lambda _: None, grad_output, slots)


@pytest.mark.parametrize("spread", [1e-5, 1e-6, 1e-7, 3e-8, 1e-8])
def test_a_cast_loses_what_the_error_function_says(spread):
    """Values of N(0, s) below half of the least number are lost: erf(2^-25 / (s sqrt 2))."""
    chance = torch.Generator().manual_seed(1)
    wide = spread * torch.randn(200_000, generator=chance, dtype=torch.float64).float()
    found = STATISTIC.measure(view("ToCopyBackward0", wide, wide.half()))
    expected = torch.erf(torch.tensor(2.0**-25 / (spread * 2**0.5), dtype=torch.float64))
    assert float(found["flushed_share"]) == pytest.approx(float(expected), abs=0.005)
    lost = wide.double() * (wide.abs() <= 2.0**-25)
    assert float(found["flushed_norm"]) == pytest.approx(
        float(lost.norm() / wide.double().norm()), rel=1e-6
    )


def test_zeros_that_were_zeros_before_are_not_lost():
    gradient = torch.tensor([[0.0, 0.5], [0.0, 2.0]])
    found = STATISTIC.measure(view("ToCopyBackward0", gradient, gradient.half()))
    assert (float(found["flushed_share"]), float(found["flushed_norm"])) == (0.0, 0.0)
    nothing = torch.zeros(2, 2)
    found = STATISTIC.measure(view("ToCopyBackward0", nothing, nothing.half()))
    assert (float(found["flushed_share"]), float(found["flushed_norm"])) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_not_asked(dtype):
    gradient = torch.ones(2, 2, dtype=dtype)
    assert not STATISTIC.measure(view("ToCopyBackward0", gradient, gradient))


def test_bfloat16_has_the_range_of_float32():
    wide = 1e-30 * torch.randn(1000, generator=torch.Generator().manual_seed(2))
    found = STATISTIC.measure(view("ToCopyBackward0", wide, wide.bfloat16()))
    assert float(found["flushed_norm"]) == 0.0

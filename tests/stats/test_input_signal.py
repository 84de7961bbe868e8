"""The input of a layer against NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradfuga.stats.input_signal import STATISTIC


def signal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


CASES = {
    "linear": (nn.Linear(8, 5), (16, 8)),
    "linear without bias": (nn.Linear(8, 5, bias=False), (16, 8)),
    "conv": (nn.Conv2d(3, 4, 3), (6, 3, 5, 5)),
}


@pytest.mark.parametrize("name", CASES)
def test_rms_and_variation_are_those_of_numpy(measure, name):
    layer, shape = CASES[name]
    common = signal(1, *shape[1:], seed=2)
    x = signal(*shape) * 0.1 + common
    got = measure(STATISTIC, layer.double()(x.requires_grad_()))
    xs = x.detach().numpy()
    rms = np.sqrt(np.mean(xs**2))
    assert got["input_rms"] == pytest.approx(rms, rel=1e-12)
    deviation = np.sqrt(np.mean((xs - xs.mean(0)) ** 2))
    assert got["batch_variation"] == pytest.approx(deviation / rms, rel=1e-12)


def test_examples_that_are_all_the_same_do_not_vary(measure):
    x = signal(1, 8).expand(16, 8)
    got = measure(STATISTIC, nn.Linear(8, 5).double()(x.requires_grad_()))
    assert got["batch_variation"] == pytest.approx(0.0, abs=1e-15)


def test_a_collapse_near_the_end_of_float32_is_still_seen(measure):
    x = torch.ones(16, 8) + 1e-5 * signal(16, 8).float()
    truth = x.double().numpy().std(0)
    got = measure(STATISTIC, nn.Linear(8, 5)(x.requires_grad_()))
    expected = np.sqrt(np.mean(truth**2)) / np.sqrt(np.mean(x.double().detach().numpy() ** 2))
    assert got["batch_variation"] == pytest.approx(expected, rel=1e-3)


def test_a_large_input_is_sampled_without_bias(measure):
    x = signal(64, 16, 20, 20) + signal(1, 16, 20, 20, seed=2)
    got = measure(STATISTIC, nn.Conv2d(16, 1, 1).double()(x.requires_grad_()))
    assert got["input_rms"] == pytest.approx(x.detach().square().mean().sqrt().item(), rel=0.02)
    deviation = (x - x.mean(0)).square().mean().sqrt().item()
    rms = x.square().mean().sqrt().item()
    assert got["batch_variation"] == pytest.approx(deviation / rms, rel=0.03)


def test_one_example_has_no_variation_to_speak_of(measure):
    got = measure(STATISTIC, nn.Linear(8, 5).double()(signal(1, 8).requires_grad_()))
    assert set(got) == {"input_rms"}


def test_a_frozen_weight_saves_no_input(measure):
    layer = nn.Linear(8, 5).double().requires_grad_(requires_grad=False)
    assert measure(STATISTIC, layer(signal(3, 8).requires_grad_())) == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_does_not_overflow(measure, dtype):
    x = torch.full((4, 64), 1e4, dtype=dtype, requires_grad=True)
    layer = nn.Linear(64, 2).to(dtype)
    got = measure(STATISTIC, layer(x))
    assert got["input_rms"] == pytest.approx(x[0, 0].item(), rel=1e-6)


def test_nan_and_empty_inputs_are_survived(measure):
    x = signal(4, 8)
    x[0, 0] = float("nan")
    layer = nn.Linear(8, 5).double()
    assert math.isnan(measure(STATISTIC, layer(x.requires_grad_()))["input_rms"])
    assert measure(STATISTIC, layer(signal(0, 8).requires_grad_())) == {}

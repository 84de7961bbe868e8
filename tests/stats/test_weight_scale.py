"""The weight scale against the op's exact Jacobian and against random gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga.stats.weight_scale import STATISTIC


def signal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def expected_gain(function, x):
    """Return sqrt(E|J^T d|^2 / E|d|^2) for isotropic d: |J|_F / sqrt(outputs), exactly."""
    jacobian = torch.func.jacrev(function)(x.detach())
    return (jacobian.norm() / math.sqrt(function(x).numel())).item()


def seeded(make):
    torch.manual_seed(7)
    return make().double()


OPS = {
    "linear": (lambda: nn.Linear(8, 5), (3, 8)),
    "linear without bias": (lambda: nn.Linear(8, 5, bias=False), (3, 8)),
    "linear on tokens": (lambda: nn.Linear(8, 5), (2, 3, 8)),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3), (1, 6, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, 3), (1, 6, 5, 6)),
    "conv2d one by one": (lambda: nn.Conv2d(6, 4, 1), (1, 6, 4, 4)),
    "conv2d strided": (lambda: nn.Conv2d(6, 4, 3, stride=2), (1, 6, 7, 7)),
    "conv2d dilated": (lambda: nn.Conv2d(3, 4, 3, dilation=2), (1, 3, 7, 7)),
    "conv2d grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2), (1, 6, 5, 5)),
    "conv2d depthwise": (lambda: nn.Conv2d(6, 12, 3, groups=6), (1, 6, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (1, 2, 3, 4, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3), (1, 6, 4, 5)),
    "transposed strided": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), (1, 6, 4, 4)),
    "transposed grouped": (lambda: nn.ConvTranspose1d(6, 4, 3, groups=2), (1, 6, 5)),
}


@pytest.mark.parametrize("name", OPS)
def test_scale_is_the_gain_of_an_isotropic_gradient(measure, name):
    make, shape = OPS[name]
    layer, x = seeded(make), signal(*shape)
    got = measure(STATISTIC, layer(x))
    assert got["scale"] == pytest.approx(expected_gain(layer, x), rel=1e-12)


def test_padding_costs_a_border_share_that_the_scale_leaves_to_alignment(measure):
    layer = seeded(lambda: nn.Conv2d(4, 6, 3, padding=1))
    x = signal(1, 4, 8, 8)
    got = measure(STATISTIC, layer(x))
    assert got["scale"] == pytest.approx((layer.weight.norm() / math.sqrt(6)).item(), rel=1e-12)
    assert 0.8 < expected_gain(layer, x) / got["scale"] < 1.0


@pytest.mark.parametrize("name", ["linear", "conv2d grouped", "transposed strided"])
def test_random_gradients_have_the_scale_as_their_rms_gain(measure, name):
    make, shape = OPS[name]
    layer = seeded(make)
    x = signal(*shape)
    scale = measure(STATISTIC, layer(x))["scale"]
    output = layer(x)
    generator = torch.Generator().manual_seed(3)
    above = below = 0.0
    for _ in range(400):
        d = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        (g,) = torch.autograd.grad(output, x, d, retain_graph=True)
        above, below = above + d.square().sum(), below + g.square().sum()
    # 400 draws of some ten degrees of freedom each: a standard error near 2 %
    assert math.sqrt(below / above) == pytest.approx(scale, rel=0.06)


def test_alpha_of_addmm_counts(measure):
    x, weight, bias = signal(3, 8), signal(8, 5, seed=2), signal(5, seed=3)
    output = torch.addmm(bias, x * 1, weight, beta=0.5, alpha=-2.0)
    got = measure(STATISTIC, output)
    assert got["scale"] == pytest.approx(2 * (weight.norm() / math.sqrt(5)).item(), rel=1e-12)


def test_a_weight_on_the_left_is_found(measure):
    x, weight = signal(8, 3), nn.Parameter(signal(5, 8, seed=2).detach())
    for output in (weight @ (x * 1), weight.mv(x[:, 0])):
        got = measure(STATISTIC, output)
        assert got["scale"] == pytest.approx((weight.norm() / math.sqrt(5)).item(), rel=1e-12)


def test_batched_weights_are_a_scale_and_two_activations_are_none(measure):
    x, weights = signal(4, 3, 8), nn.Parameter(signal(4, 8, 5, seed=2).detach())
    got = measure(STATISTIC, torch.bmm(x * 1, weights))
    truth = expected_gain(lambda x: torch.bmm(x, weights), x)
    assert got["scale"] == pytest.approx(truth, rel=1e-12)
    bias = signal(1, seed=5)
    got = measure(STATISTIC, torch.baddbmm(bias, x * 1, weights, alpha=0.5))
    assert got["scale"] == pytest.approx(truth / 2, rel=1e-12)
    assert measure(STATISTIC, torch.bmm(x * 1, signal(4, 8, 5, seed=3) * 1)) == {}


def test_an_einsum_with_a_parameter_is_a_weight_seen_through_views(measure):
    x, weight = signal(4, 8), nn.Parameter(signal(5, 8, seed=2).detach())
    got = measure(STATISTIC, torch.einsum("bi,oi->bo", x * 1, weight))
    assert got["scale"] == pytest.approx((weight.norm() / math.sqrt(5)).item(), rel=1e-12)


def test_the_first_layer_saves_no_weight_and_has_no_scale(measure):
    assert measure(STATISTIC, nn.Linear(8, 5)(torch.ones(3, 8))) == {}


def test_a_large_weight_is_summed_exactly(measure):
    layer, x = seeded(lambda: nn.Linear(300, 700)), signal(2, 300)
    got = measure(STATISTIC, layer(x))
    truth = (layer.weight.norm() / math.sqrt(700)).item()
    assert got["scale"] == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_neither_overflows_nor_underflows(measure, dtype):
    for size in (1e-7, 1.0, 1e4):
        weight = torch.full((64, 64), size, dtype=dtype, requires_grad=True)
        x = torch.ones(2, 64, dtype=dtype, requires_grad=True)
        got = measure(STATISTIC, F.linear(x * 1, weight))
        truth = weight.detach().double().norm().item() / 8
        assert got["scale"] == pytest.approx(truth, rel=1e-5)


def test_complex_weights_are_left_alone(measure):
    x = torch.ones(3, 4, dtype=torch.complex64, requires_grad=True)
    weight = torch.ones(4, 2, dtype=torch.complex64, requires_grad=True)
    assert measure(STATISTIC, (x * 1) @ weight) == {}


def test_nan_and_empty_weights_are_survived(measure):
    x, weight = signal(3, 4), signal(5, 4, seed=2).detach()
    weight[0, 0] = float("nan")
    assert math.isnan(measure(STATISTIC, F.linear(x * 1, weight.requires_grad_()))["scale"])
    empty = torch.zeros(0, 4, dtype=torch.float64, requires_grad=True)
    assert measure(STATISTIC, F.linear(x * 1, empty)) == {}

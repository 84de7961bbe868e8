"""The factors of normalization layers: their product is the gain, each agrees with NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradfuga._contracts import NodeView
from gradfuga.stats.normalization import STATISTIC


def scrambled(layer):
    """Give the layer weights and running statistics that are not all ones."""
    generator = torch.Generator().manual_seed(11)
    layer = layer.double()
    with torch.no_grad():
        for tensor in (*layer.parameters(), *layer.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.3, 2.0, generator=generator)
    return layer


def signal(*shape, seed=1, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale + 1.0
    return x.requires_grad_()


LAYERS = {
    "batch 1d": (nn.BatchNorm1d(8), (16, 8)),
    "batch 1d with length": (nn.BatchNorm1d(8), (6, 8, 5)),
    "batch 2d": (nn.BatchNorm2d(6), (4, 6, 5, 3)),
    "batch 2d eval": (nn.BatchNorm2d(6).eval(), (4, 6, 5, 3)),
    "batch 2d bare": (nn.BatchNorm2d(6, affine=False, track_running_stats=False), (4, 6, 5, 3)),
    "batch 3d": (nn.BatchNorm3d(3), (2, 3, 4, 3, 5)),
    "batch of many": (nn.BatchNorm2d(16), (16, 16, 17, 20)),
    "instance": (nn.InstanceNorm2d(6, affine=True), (4, 6, 5, 3)),
    "instance bare": (nn.InstanceNorm1d(6), (4, 6, 9)),
    "layer": (nn.LayerNorm(8), (5, 7, 8)),
    "layer of two axes": (nn.LayerNorm((7, 8)), (5, 7, 8)),
    "layer bare": (nn.LayerNorm(8, elementwise_affine=False), (5, 8)),
    "layer of many": (nn.LayerNorm(64), (37, 41, 64)),
    "group": (nn.GroupNorm(3, 6), (4, 6, 5, 2)),
    "group bare": (nn.GroupNorm(2, 6, affine=False), (4, 6)),
}


def gain(got):
    return (got.grad_inputs[0].norm() / got.grad_output.norm()).item()


@pytest.mark.parametrize("name", LAYERS)
def test_the_product_of_the_factors_is_the_gain(measure, name):
    layer, shape = LAYERS[name]
    output = scrambled(layer)(signal(*shape))
    got = measure(STATISTIC, output, signal(*shape, seed=2).detach())
    product = got["affine_gain"] * got["sigma_gain"] * got["projection_gain"]
    assert product == pytest.approx(gain(got), rel=1e-12)


def test_batch_norm_factors_are_those_of_numpy(measure):
    layer, x, d = scrambled(nn.BatchNorm2d(6)), signal(4, 6, 5, 3), signal(4, 6, 5, 3, seed=2)
    got = measure(STATISTIC, layer(x), d.detach())
    xs = x.detach().numpy().transpose(0, 2, 3, 1).reshape(-1, 6)
    ds = d.detach().numpy().transpose(0, 2, 3, 1).reshape(-1, 6)
    sigma = np.sqrt(xs.var(0) + layer.eps)
    after_gamma = ds * layer.weight.detach().numpy()
    u = after_gamma / sigma
    hat = (xs - xs.mean(0)) / sigma
    projected = u - u.mean(0) - hat * (u * hat).mean(0)
    norm = np.linalg.norm
    assert got["inverse_sigma"] == pytest.approx(np.sqrt(np.mean(sigma**-2)), rel=1e-12)
    assert got["affine_gain"] == pytest.approx(norm(after_gamma) / norm(ds), rel=1e-12)
    assert got["sigma_gain"] == pytest.approx(norm(u) / norm(after_gamma), rel=1e-12)
    assert got["projection_gain"] == pytest.approx(norm(projected) / norm(u), rel=1e-9)


def test_layer_norm_factors_are_those_of_numpy(measure):
    layer, x, d = scrambled(nn.LayerNorm(8)), signal(5, 7, 8), signal(5, 7, 8, seed=2)
    got = measure(STATISTIC, layer(x), d.detach())
    xs, ds = x.detach().numpy(), d.detach().numpy()
    sigma = np.sqrt(xs.var(-1, keepdims=True) + layer.eps)
    after_gamma = ds * layer.weight.detach().numpy()
    u = after_gamma / sigma
    hat = (xs - xs.mean(-1, keepdims=True)) / sigma
    projected = u - u.mean(-1, keepdims=True) - hat * (u * hat).mean(-1, keepdims=True)
    norm = np.linalg.norm
    assert got["inverse_sigma"] == pytest.approx(np.sqrt(np.mean(sigma**-2)), rel=1e-12)
    assert got["affine_gain"] == pytest.approx(norm(after_gamma) / norm(ds), rel=1e-12)
    assert got["sigma_gain"] == pytest.approx(norm(u) / norm(after_gamma), rel=1e-12)
    assert got["projection_gain"] == pytest.approx(norm(projected) / norm(u), rel=1e-9)


def test_group_norm_divides_each_group_by_its_own_sigma(measure):
    layer, x, d = scrambled(nn.GroupNorm(3, 6)), signal(4, 6, 5, 2), signal(4, 6, 5, 2, seed=2)
    got = measure(STATISTIC, layer(x), d.detach())
    groups = x.detach().numpy().reshape(4, 3, -1)
    sigma = np.sqrt(groups.var(-1, keepdims=True) + layer.eps)
    after_gamma = d.detach().numpy() * layer.weight.detach().numpy()[:, None, None]
    u = after_gamma.reshape(4, 3, -1) / sigma
    norm = np.linalg.norm
    assert got["inverse_sigma"] == pytest.approx(np.sqrt(np.mean(sigma**-2)), rel=1e-12)
    assert got["sigma_gain"] == pytest.approx(norm(u) / norm(after_gamma), rel=1e-12)


def test_in_eval_mode_the_running_sigma_acts_and_nothing_is_projected(measure):
    layer = scrambled(nn.BatchNorm2d(6)).eval()
    got = measure(STATISTIC, layer(signal(4, 6, 5, 3)), signal(4, 6, 5, 3, seed=2).detach())
    variance = layer.running_var.numpy() + layer.eps
    assert got["inverse_sigma"] == pytest.approx(np.sqrt(np.mean(1 / variance)), rel=1e-12)
    assert got["projection_gain"] == pytest.approx(1.0, rel=1e-12)


def test_without_gamma_the_affine_gain_is_one(measure):
    layer = nn.LayerNorm(8, elementwise_affine=False)
    got = measure(STATISTIC, layer(signal(5, 8)), signal(5, 8, seed=2).detach())
    assert got["affine_gain"] == pytest.approx(1.0, rel=1e-15)


def test_a_fused_rms_norm_is_read_as_a_layer_norm_without_a_mean():
    # A CPU build composes RMSNorm of several ops, so the fused node is made by hand.
    x, weight, d = signal(5, 8), signal(8, seed=4).detach(), signal(5, 8, seed=2).detach()
    inverse = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    (leaving,) = torch.autograd.grad(x * inverse * weight, x, d)
    saved = {"result1": inverse.detach(), "weight": weight}
    view = NodeView("FusedRmsNormBackward0", saved.get, lambda _: None, d, (leaving, None))
    got = {name: value.item() for name, value in STATISTIC.measure(view).items()}
    product = got["affine_gain"] * got["sigma_gain"] * got["projection_gain"]
    assert product == pytest.approx((leaving.norm() / d.norm()).item(), rel=1e-12)
    assert got["projection_gain"] < 1.0
    rms = np.sqrt((x.detach().numpy() ** 2).mean(-1) + 1e-6)
    assert got["inverse_sigma"] == pytest.approx(np.sqrt(np.mean(rms**-2)), rel=1e-12)


def test_an_input_that_needs_no_gradient_has_no_projection(measure):
    layer = scrambled(nn.LayerNorm(8))
    got = measure(STATISTIC, layer(signal(5, 8).detach()), signal(5, 8, seed=2).detach())
    assert "projection_gain" not in got
    assert got["sigma_gain"] > 0


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1e25])
@pytest.mark.parametrize("layer", [nn.BatchNorm1d(8), nn.LayerNorm(8), nn.GroupNorm(2, 8)])
def test_a_float32_gradient_of_any_size_keeps_its_factors(measure, layer, size):
    x, d = signal(16, 8).float().detach(), signal(16, 8, seed=2).float().detach()
    plain = measure(STATISTIC, layer(x.clone().requires_grad_()), d)
    scaled = measure(STATISTIC, layer(x.clone().requires_grad_()), d * size)
    assert scaled == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured(measure, dtype):
    x, d = signal(16, 8).detach(), signal(16, 8, seed=2).detach()
    truth = measure(STATISTIC, nn.LayerNorm(8).double()(x.clone().requires_grad_()), d)
    layer = nn.LayerNorm(8).to(dtype)
    got = measure(STATISTIC, layer(x.to(dtype).requires_grad_()), d.to(dtype))
    assert got == pytest.approx(truth, rel=2e-2)


def test_a_zero_gradient_has_no_factors_and_no_error(measure):
    layer = nn.LayerNorm(8)
    got = measure(STATISTIC, layer(signal(5, 8).float()), torch.zeros(5, 8))
    assert math.isnan(got["affine_gain"])


def test_nan_and_empty_tensors_are_survived(measure):
    x = signal(5, 8).detach()
    x[0, 0] = float("nan")
    assert math.isnan(
        measure(STATISTIC, nn.LayerNorm(8).double()(x.requires_grad_()))["inverse_sigma"]
    )
    assert measure(STATISTIC, nn.LayerNorm(8)(torch.zeros(0, 8, requires_grad=True))) == {}

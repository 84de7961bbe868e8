"""The slope statistics against the slopes that PyTorch's own backward shows, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradfuga.stats.slope import DEAD, SATURATED, STATISTIC

PRELU = torch.tensor([0.25, -0.5, 2.0, 0.0, 0.1, 1.0, -3.0, 0.3], dtype=torch.float64)
ZERO = torch.zeros((), dtype=torch.float64)

ACTIVATIONS = {
    "sigmoid": (torch.sigmoid, 0.25),
    "sigmoid_": (lambda x: (x * 1).sigmoid_(), 0.25),
    "tanh": (torch.tanh, 1.0),
    "relu": (F.relu, 1.0),
    "relu_": (lambda x: F.relu_(x * 1), 1.0),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), 1.0),
    "leaky_relu steep": (lambda x: F.leaky_relu(x, 3.0), 3.0),
    "leaky_relu_": (lambda x: F.leaky_relu_(x * 1, 0.1), 1.0),
    "elu": (F.elu, 1.0),
    "elu alpha 2": (lambda x: F.elu(x, 2.0), 2.0),
    "elu_": (lambda x: F.elu_(x * 1, 0.7), 1.0),
    "selu": (F.selu, 1.0507009873554805 * 1.6732632423543772),
    "selu_": (lambda x: F.selu_(x * 1), 1.0507009873554805 * 1.6732632423543772),
    "celu": (lambda x: F.celu(x, 1.5), 1.0),
    "celu_": (lambda x: F.celu_(x * 1, 1.5), 1.0),
    "gelu": (F.gelu, 1.1289),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), 1.1290),
    "silu": (F.silu, 1.0998),
    "mish": (F.mish, 1.0885),
    "softplus": (F.softplus, 1.0),
    "softplus beta": (lambda x: F.softplus(x, beta=2.0, threshold=4.0), 1.0),
    "logsigmoid": (F.logsigmoid, 1.0),
    "hardtanh": (F.hardtanh, 1.0),
    "hardtanh_": (lambda x: F.hardtanh_(x * 1, -0.5, 2.0), 1.0),
    "relu6": (F.relu6, 1.0),
    "hardsigmoid": (F.hardsigmoid, 1 / 6),
    "hardswish": (F.hardswish, 1.5),
    "hardshrink": (F.hardshrink, 1.0),
    "softshrink": (F.softshrink, 1.0),
    "threshold": (lambda x: F.threshold(x, 0.3, 0.1), 1.0),
    "threshold_": (lambda x: F.threshold_(x * 1, 0.3, 0.1), 1.0),
    "clamp": (lambda x: x.clamp(-0.5, 1.0), 1.0),
    "clamp min": (lambda x: x.clamp(min=0), 1.0),
    "clamp max": (lambda x: x.clamp(max=0.5), 1.0),
    "clamp_min": (lambda x: x.clamp_min(0.2), 1.0),
    "clamp_max": (lambda x: x.clamp_max(0.2), 1.0),
    "clamp tensor": (lambda x: x.clamp(min=ZERO), 1.0),
    "clamp tensor row": (lambda x: x.clamp(max=PRELU), 1.0),
    "maximum": (lambda x: torch.maximum(x, ZERO), 1.0),
    "maximum other": (lambda x: torch.maximum(ZERO, x), 1.0),
    "minimum": (lambda x: torch.minimum(x, PRELU), 1.0),
    "prelu": (lambda x: F.prelu(x, PRELU), 3.0),
    "rrelu eval": (F.rrelu, 1.0),
    "rrelu_ eval": (lambda x: F.rrelu_(x * 1), 1.0),
    "erf": (torch.erf, 2 / np.sqrt(np.pi)),
    "sin": (torch.sin, 1.0),
    "cos": (torch.cos, 1.0),
    "atan": (torch.atan, 1.0),
}


def inputs(*shape, scale=2.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
    return x.to(dtype).requires_grad_()


def slopes(function, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0].double().numpy()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_mean_squared_slope_and_shares_are_those_of_pytorchs_own_backward(measure, name):
    function, supremum = ACTIVATIONS[name]
    x = inputs(64, 8)
    truth = slopes(function, x)
    got = measure(STATISTIC, function(x), torch.randn(64, 8, dtype=torch.float64))
    assert got["slope_supremum"] == pytest.approx(supremum, rel=1e-4)
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=1e-12)
    flat = np.abs(truth) < SATURATED * supremum
    assert got["saturated_share"] == pytest.approx(flat.mean(), abs=1e-12)
    if "zero_slope_share" in got:
        assert got["zero_slope_share"] == pytest.approx((truth == 0).mean(), abs=1e-12)
    else:
        assert (truth != 0).all()
    dead = (np.abs(truth) < DEAD * supremum).all(axis=0)
    assert got["dead_share"] == pytest.approx(dead.mean(), abs=1e-12)


@pytest.mark.parametrize(
    "name", sorted(set(ACTIVATIONS) - {"clamp tensor row", "minimum", "prelu"})
)
def test_the_supremum_is_the_steepest_slope_anywhere(measure, name):
    function, _ = ACTIVATIONS[name]
    grid = torch.linspace(-40, 40, 400_003, dtype=torch.float64)
    kinks = torch.tensor([0.0, 3.0, -3.0], dtype=torch.float64)
    x = torch.cat([grid, kinks - 1e-12, kinks + 1e-12]).requires_grad_()
    steepest = np.abs(slopes(function, x)).max()
    got = measure(STATISTIC, function(x))
    assert got["slope_supremum"] == pytest.approx(steepest, rel=1e-7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_kinks_follow_pytorchs_own_convention(measure, name):
    function, _ = ACTIVATIONS[name]
    kinks = [-3.0, -1.0, -0.5, 0.0, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 6.0]
    x = torch.tensor(kinks, dtype=torch.float64).repeat_interleave(8).reshape(-1, 8)
    truth = slopes(function, x)
    got = measure(STATISTIC, function(x.requires_grad_()))
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=1e-12)


@pytest.mark.parametrize(
    "name", sorted(set(ACTIVATIONS) - {"clamp tensor row", "minimum", "prelu"})
)
def test_the_mean_stays_exact_where_the_shares_are_sampled(measure, name):
    function, supremum = ACTIVATIONS[name]
    x = inputs(16, 12, 31, 33)  # 196,416 values: six samples
    truth = slopes(function, x)
    got = measure(STATISTIC, function(x))
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=1e-12)
    flat = (np.abs(truth) < SATURATED * supremum).mean()
    # 4 standard errors of a share over 24,000 values
    assert got["saturated_share"] == pytest.approx(flat, abs=4 * 0.5 / np.sqrt(24_000))
    assert got["dead_share"] == 0.0


def test_training_rrelu_uses_the_slopes_that_were_drawn(measure):
    x = inputs(32, 8)
    y = F.rrelu(x, training=True)
    truth = np.where(x.detach().numpy() > 0, 1.0, (y / x).detach().numpy())
    got = measure(STATISTIC, y)
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=1e-12)


def test_a_maximum_of_two_signals_is_no_activation(measure):
    x, y = inputs(4, 3), inputs(4, 3, scale=1.0)
    assert measure(STATISTIC, torch.maximum(x, y)) == {}


@pytest.mark.parametrize(
    ("shape", "unit"), [((16, 10), 1), ((8, 6, 10), 2), ((4, 10, 5, 6), 1), ((2, 10, 3, 4, 5), 1)]
)
@pytest.mark.parametrize("function", [F.relu, torch.sigmoid, F.gelu, torch.tanh, F.relu6, F.elu])
def test_units_that_are_off_for_the_whole_batch_are_dead(measure, shape, unit, function):
    x = inputs(*shape).detach()
    x.movedim(unit, 0)[:3] = -60.0  # three of ten
    got = measure(STATISTIC, function(x.requires_grad_()))
    assert got["dead_share"] == pytest.approx(0.3)


def test_a_unit_that_works_for_one_example_is_not_dead(measure):
    x = torch.full((64, 5), -1.0)
    x[17, 2] = 1.0
    got = measure(STATISTIC, F.relu(x.requires_grad_()))
    assert got["dead_share"] == pytest.approx(0.8)
    assert got["zero_slope_share"] == pytest.approx(1 - 1 / 320)


@pytest.mark.parametrize("function", [F.relu, torch.tanh])
def test_a_whole_dead_layer_shows_in_every_layout(measure, function):
    for shape in [(), (7,), (4, 3), (2, 3, 4), (2, 3, 4, 5), (300, 20, 30)]:
        x = torch.full(shape, -30.0, dtype=torch.float64, requires_grad=True)
        assert measure(STATISTIC, function(x))["dead_share"] == 1.0, shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "gelu", "silu", "elu", "softplus"])
def test_lower_precision_is_measured_in_float32(measure, dtype, name):
    function, _ = ACTIVATIONS[name]
    x = inputs(64, 8, dtype=dtype)
    truth = slopes(function, x.detach().double())
    got = measure(STATISTIC, function(x))
    # the saved value itself is rounded: to 2^-9 for bfloat16
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=2e-2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_and_infinity_are_survived(measure, name):
    function, _ = ACTIVATIONS[name]
    x = inputs(16, 8).detach()
    x[0, 0], x[1, 1], x[2, 2] = float("nan"), float("inf"), float("-inf")
    got = measure(STATISTIC, function(x.requires_grad_()))
    assert 0.0 <= got["saturated_share"] <= 1.0
    assert np.isfinite(got["slope_supremum"])


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (2, 0, 4, 4)])
def test_an_empty_tensor_has_no_statistics(measure, shape):
    x = torch.zeros(shape, requires_grad=True)
    assert measure(STATISTIC, F.relu(x)) == {}
    assert measure(STATISTIC, torch.sigmoid(x)) == {}


def test_a_complex_activation_is_left_alone(measure):
    x = torch.ones(4, 3, dtype=torch.complex64, requires_grad=True)
    assert measure(STATISTIC, torch.tanh(x)) == {}


def test_a_gradient_broadcast_from_a_sum_is_no_obstacle(measure):
    x = inputs(16, 8)
    truth = slopes(torch.tanh, x)
    y = torch.tanh(x)
    got = measure(STATISTIC, y, torch.ones((), dtype=torch.float64).expand(16, 8))
    assert got["mean_squared_slope"] == pytest.approx(np.mean(truth**2), rel=1e-12)


def test_channels_last_makes_no_difference(measure):
    x = inputs(4, 6, 5, 7)
    plain = measure(STATISTIC, F.gelu(x))
    y = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    assert measure(STATISTIC, F.gelu(y)) == pytest.approx(plain, rel=1e-12)


def test_rms_slope_times_alignment_is_the_gain(measure):
    x, cotangent = inputs(64, 32), torch.randn(64, 32, dtype=torch.float64)
    got = measure(STATISTIC, torch.tanh(x), cotangent)
    slope = 1 - np.tanh(x.detach().numpy()) ** 2
    d = cotangent.numpy()
    alignment = np.sqrt(np.sum((slope * d) ** 2) / (np.mean(slope**2) * np.sum(d**2)))
    gain = (got.grad_inputs[0].norm() / got.grad_output.norm()).item()
    assert np.sqrt(got["mean_squared_slope"]) * alignment == pytest.approx(gain, rel=1e-12)

"""The mean-field formulas against closed forms, and the tables of the theory reference."""

import math

import numpy as np
import pytest
import torch

from gradfuga.theory.activations import leaky_relu
from gradfuga.theory.criticality import edge_of_chaos
from gradfuga.theory.finite_width import kappa
from gradfuga.theory.mean_field import (
    Init,
    chi,
    depth_scales,
    fixed_point,
    length_map,
    predicted_reach,
    torch_default,
)


@pytest.mark.parametrize("module", [torch.nn.Linear(300, 500), torch.nn.Conv2d(12, 900, 5)])
def test_the_torch_default_is_what_torch_draws(module):
    fan_in = module.weight[0].numel()
    torch.manual_seed(0)
    module.reset_parameters()
    init = torch_default(fan_in)
    # a sample variance of n values strays by about 1/sqrt(n): 150 000 weights, 500 biases
    assert fan_in * module.weight.var().item() == pytest.approx(init.weight_variance, rel=0.01)
    assert module.bias.var().item() == pytest.approx(init.bias_variance, rel=0.2)


@pytest.mark.parametrize(
    ("name", "chi_1", "decades", "kappa_b"),
    [
        ("sigmoid", 0.0200, -8.50, 2.01),
        ("gelu", 0.0833, -5.39, 2.00),
        ("silu", 0.0833, -5.39, 2.00),
        ("mish", 0.1200, -4.60, 2.00),
        ("softplus", 0.0869, -5.30, 2.48),
        ("relu", 0.1667, -3.89, 5.00),
        (leaky_relu(0.2), 0.1733, -3.81, 4.56),
        ("erf", 0.4244, -1.87, 2.00),
        ("selu", 0.699, -0.93, 2.67),
    ],
    ids=str,
)
def test_torch_default_is_critical_for_no_activation(name, chi_1, decades, kappa_b):
    # chi and kappa are at sb2 = 0, the decades at n = 256
    at_zero = fixed_point(name, Init(1 / 3))
    assert chi(name, Init(1 / 3), at_zero) == pytest.approx(chi_1, rel=3e-3)
    q = fixed_point(name, torch_default(256))
    assert 5 * math.log10(chi(name, torch_default(256), q)) == pytest.approx(decades, abs=0.02)
    assert kappa(name, at_zero) == pytest.approx(kappa_b, abs=6e-3)


@pytest.mark.parametrize(
    ("name", "bias_variance", "weight_scale", "q"),
    [
        ("relu", 0.0, math.sqrt(2.0), math.nan),
        (leaky_relu(0.3), 0.0, math.sqrt(2 / 1.09), math.nan),
        ("tanh", 0.0, 1.0, 0.0),
        ("tanh", 0.01, 1.1934, 0.273),
        ("tanh", 0.04, 1.3042, 0.512),
        ("erf", 0.0, math.sqrt(math.pi) / 2, 0.0),
        ("erf", 0.01, 1.0556, 0.253),
        ("elu", 0.01, 1.1762, 0.438),
        ("elu", 0.04, 1.2293, 1.107),
        ("selu", 0.0, 0.6905, 0.0),
        ("selu", 0.01, 0.8719, 0.309),
        ("softsign", 0.04, 1.7296, 0.358),
        ("gelu", 0.01, 1.7271, 0.184),
        ("silu", 0.04, 1.6795, 0.690),
        ("mish", 0.01, 1.5410, 0.263),
        ("sigmoid", 0.0, 10.149, 45.6),
    ],
    ids=str,
)
def test_the_edge_of_chaos_is_that_of_the_reference_table(name, bias_variance, weight_scale, q):
    point = edge_of_chaos(name, bias_variance=bias_variance)
    assert math.sqrt(point.weight_variance) == pytest.approx(weight_scale, abs=2e-4, rel=1e-4)
    assert point.q == pytest.approx(q, rel=1e-3, abs=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "weight_variance"),
    [
        ("tanh", 1.7610),
        ("erf", 1.3758),
        ("elu", 1.5337),
        ("selu", 0.9018),
        ("softsign", 3.1413),
        ("gelu", 2.3025),
        ("silu", 2.7286),
        ("mish", 2.1048),
        ("sigmoid", 103.1),
    ],
)
def test_the_edge_at_bias_variance_a_twentieth_is_a_fixed_point_with_chi_one(name, weight_variance):
    point = edge_of_chaos(name, bias_variance=0.05)
    assert point.weight_variance == pytest.approx(weight_variance, rel=3e-4)
    init = Init(point.weight_variance, point.bias_variance)
    assert chi(name, init, point.q) == pytest.approx(1.0, abs=1e-12)
    assert length_map(name, init, point.q) == pytest.approx(point.q, rel=1e-10)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish"])
def test_the_critical_points_of_gelu_and_its_kin_repel(name):
    assert edge_of_chaos(name) is None
    point = edge_of_chaos(name, bias_variance=0.04)
    assert not point.stable
    init = Init(point.weight_variance, point.bias_variance)
    for start in (0.9 * point.q, 1.1 * point.q):
        moved = length_map(name, init, start)
        assert abs(moved - point.q) > abs(start - point.q)


@pytest.mark.parametrize("name", ["tanh", "erf", "elu", "selu", "softsign", "sigmoid"])
def test_the_critical_points_of_bounded_slopes_attract(name):
    point = edge_of_chaos(name, bias_variance=0.04)
    assert point.stable
    init = Init(point.weight_variance, point.bias_variance)
    assert fixed_point(name, init, start=2 * point.q) == pytest.approx(point.q, rel=1e-6)


def test_softplus_has_no_critical_point_at_all():
    assert [edge_of_chaos("softplus", bias_variance=b) for b in (0.0, 0.01, 1.0)] == [None] * 3


@pytest.mark.parametrize(
    ("name", "init", "start", "expected"),
    [
        ("relu", Init(2.0), 0.37, 0.37),  # every q is fixed
        ("relu", Init(1.0, 0.1), 1.0, 0.2),  # q = q/2 + .1
        ("relu", Init(2.5), 1.0, math.inf),
        ("tanh", Init(0.9), 1.0, 0.0),
        ("gelu", Init(2.0), 1.0, 0.0),  # drifts to 0 under He, as measured at 50 layers
        ("identity", Init(0.5, 1.0), 9.0, 2.0),
    ],
)
def test_the_length_ends_where_iterating_the_map_ends(name, init, start, expected):
    assert fixed_point(name, init, start=start) == pytest.approx(expected, rel=1e-9)


def test_depth_scales_of_erf_follow_from_the_arc_sine_kernel():
    # chaotic phase: q*, c* and the slope of the correlation map have closed forms for erf
    init = Init(3.0, 0.05)
    scales = depth_scales("erf", init)
    q = 1.0
    for _ in range(400):
        q = init.weight_variance * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + init.bias_variance

    def covariance(c):
        inner = 2 / math.pi * math.asin(2 * c * q / (1 + 2 * q))
        return (init.weight_variance * inner + init.bias_variance) / q

    c = 0.5
    for _ in range(400):
        c = covariance(c)
    rate = (covariance(c + 1e-6) - covariance(c - 1e-6)) / 2e-6
    assert scales.q == pytest.approx(q, rel=1e-9)
    assert scales.chi > 1.0 > c
    assert scales.gradient < 0.0
    assert scales.correlation == pytest.approx(-1 / math.log(rate), rel=1e-6)


def test_in_the_ordered_phase_gradients_and_correlations_share_one_depth():
    scales = depth_scales("tanh", torch_default(256))
    assert scales.gradient == scales.correlation == pytest.approx(-1 / math.log(scales.chi))


def test_the_length_scale_is_the_rate_at_which_the_length_settles():
    init = Init(1.5, 0.3)
    scales = depth_scales("tanh", init)
    q = scales.q * (1 + 1e-5)
    rate = (length_map("tanh", init, q) - scales.q) / (q - scales.q)
    assert scales.length == pytest.approx(-1 / math.log(rate), rel=1e-3)


def test_six_depth_scales_are_a_reach_of_minus_1_30_decades():
    scales = depth_scales("tanh", Init(1.0, 0.1))
    depth = 6 * scales.gradient
    assert depth * 0.5 * math.log10(scales.chi) == pytest.approx(-1.303, abs=1e-3)


def test_a_layer_of_its_own_moves_only_the_reach_below_it():
    plain = predicted_reach("relu", Init(2.0), 6)
    weak = predicted_reach("relu", [Init(2.0)] * 3 + [Init(0.02)] + [Init(2.0)] * 2, 6)
    np.testing.assert_allclose(plain, 0.0, atol=1e-12)
    # layer 4 (index 3) shrinks the gradient tenfold on its way to layers 1 to 3
    np.testing.assert_allclose(weak, [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0], atol=1e-12)

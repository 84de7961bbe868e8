"""Gaussian moments against closed forms and against adaptive quadrature."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from gradfuga.theory.activations import NAMES, activation, leaky_relu
from gradfuga.theory.moments import (
    backward_gain,
    forward_gain,
    moments,
    operating_slope,
    reference_gain,
)


def gaussian_mean(function, q, kinks):
    """E function(sqrt(q) z) by adaptive quadrature between the kinks."""
    scale = math.sqrt(q)
    # 0.5 steps keep the adaptive rule from overlooking the bend of a nearly hard function
    ends = sorted({*(k / scale for k in kinks if abs(k / scale) < 12), *np.arange(-12, 12.5, 0.5)})
    return sum(
        quad(
            lambda z: function(scale * z) * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi),
            low,
            high,
            epsabs=1e-13,
        )[0]
        for low, high in itertools.pairwise(ends)
    )


@pytest.mark.parametrize("q", [0.02, 1.0, 7.3])
@pytest.mark.parametrize("name", NAMES)
def test_moments_agree_with_adaptive_quadrature_to_1e_9(name, q):
    phi, ours = activation(name), moments(name, q)

    def at(function):
        return lambda x: float(function(np.array([x]))[0])

    mean = gaussian_mean(at(phi.value), q, phi.kinks)
    slope_square = gaussian_mean(at(lambda x: phi.slope(x) ** 2), q, phi.kinks)
    assert ours.mean == pytest.approx(mean, rel=1e-9, abs=1e-11)
    assert ours.slope_square == pytest.approx(slope_square, rel=1e-9)


@pytest.mark.parametrize("q", [1e-8, 0.3, 1.0, 45.6, 1e6])
def test_moments_of_relu_and_erf_have_their_closed_forms(q):
    relu, erf = moments("relu", q), moments("erf", q)
    assert relu.square == pytest.approx(q / 2, rel=1e-11)
    assert relu.mean == pytest.approx(math.sqrt(q / (2 * math.pi)), rel=1e-11)
    assert relu.slope_square == pytest.approx(0.5, rel=1e-11)
    assert relu.slope_fourth == pytest.approx(0.5, rel=1e-11)
    # Williams 1997: the arc-sine kernel
    assert erf.square == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-10)
    assert erf.slope_square == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-10)


@pytest.mark.parametrize("q", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("name", NAMES)
def test_curvature_is_what_makes_the_derivative_of_the_length(name, q):
    # d/dq E phi^2 = E phi'^2 + E phi phi''; central difference, truncation about 1e-8
    step = 1e-4 * q
    slope = (moments(name, q + step).square - moments(name, q - step).square) / (2 * step)
    ours = moments(name, q)
    assert ours.slope_square + ours.curvature == pytest.approx(slope, rel=1e-6)


def test_curvature_counts_kinks_as_jumps_of_the_slope():
    # hardtanh: phi'' = -delta at +1, +delta at -1, each with phi = +-1: E phi phi'' = -2 density(1)
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert moments("hardtanh").curvature == pytest.approx(-2 * density, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "forward", "backward"),
    [
        ("tanh", 1.5925, 1.4674),
        ("sigmoid", 1.8462, 4.7226),
        ("erf", 1.4672, 1.3252),
        ("relu", 1.4142, 1.4142),
        ("elu", 1.2452, 1.2234),
        ("selu", 1.0000, 0.9660),
        ("gelu", 1.5335, 1.4811),
        ("silu", 1.6765, 1.6233),
        ("mish", 1.4868, 1.4448),
        ("softplus", 1.0419, 1.8462),
        ("hardtanh", 1.3920, 1.2103),
        ("softsign", 2.3375, 2.0958),
    ],
)
def test_gains_at_unit_variance_are_those_of_the_reference_table(name, forward, backward):
    # the table has four decimals
    assert forward_gain(name) == pytest.approx(forward, abs=1e-4)
    assert backward_gain(name) == pytest.approx(backward, abs=1e-4)
    assert operating_slope(name) == pytest.approx(1 / backward, abs=1e-4)


def test_at_variance_zero_a_kink_still_has_two_sides():
    assert moments("relu", 0.0).slope_square == pytest.approx(0.5)
    assert moments("gelu", 0.0).slope_square == pytest.approx(0.25)
    assert moments("sigmoid", 0.0).square == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("relu", 1.414),
        ("gelu", 1.481),
        ("silu", 1.623),
        ("softplus", 1.5),
        ("sigmoid", 1.0),
        ("tanh", 1.0),
        ("selu", 1.0),
        ("never_heard_of", 1.0),
    ],
)
def test_the_reference_gain_is_the_one_the_account_was_measured_with(name, gain):
    assert reference_gain(name) == pytest.approx(gain, abs=5e-4)


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.2, 1.0])
def test_the_reference_gain_of_a_leaky_relu_depends_on_its_slope(slope):
    gain = reference_gain("leaky_relu", negative_slope=slope)
    assert gain == pytest.approx(math.sqrt(2 / (1 + slope**2)))
    assert gain == pytest.approx(backward_gain(leaky_relu(slope)))

import math

import numpy as np
import pytest
import torch

from gradfuga._errors import UsageError
from gradfuga.theory.activations import NAMES, activation
from gradfuga.theory.normalization import (
    batch_norm_gain,
    batch_norm_linear_gain,
    gaussian_poincare,
    layer_norm_gain,
    projection_gain,
    variance_preserving_gain,
)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("relu", math.sqrt(math.pi / (math.pi - 1))),  # Luther; Yang et al. 2019
        ("gelu", 1.1484),
        ("silu", 1.1009),
        ("tanh", 1.0853),
        ("sigmoid", 1.0167),
        ("identity", 1.0),
    ],
)
def test_batch_norm_gains_are_those_of_the_reference_table(name, gain):
    assert batch_norm_gain(name) == pytest.approx(gain, abs=6e-5)


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_never_shrinks_the_gradient(name):
    # the Gaussian Poincare inequality, with equality for a linear phi
    gain = batch_norm_gain(name)
    assert gain == pytest.approx(1.0, abs=1e-12) if name == "identity" else gain > 1.0


@pytest.mark.parametrize(
    ("name", "gain"),
    [("relu", 1.0), ("gelu", 1.0354), ("tanh", 1.0853), ("sigmoid", 0.3909), ("leaky_relu", 1.0)],
)
def test_layer_norm_gains_are_those_of_the_reference_table(name, gain):
    assert layer_norm_gain(name) == pytest.approx(gain, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "gamma"),
    # timm's and DeepMind's table, which they estimated by sampling: good to about 1e-3
    [
        ("relu", 1.71396),
        ("gelu", 1.70150),
        ("silu", 1.78813),
        ("tanh", 1.59391),
        ("sigmoid", 4.80384),
    ],
)
def test_variance_preserving_gains_are_those_of_normaliser_free_networks(name, gamma):
    assert variance_preserving_gain(name) == pytest.approx(gamma, rel=1.2e-3)


def test_the_gain_of_relu_that_preserves_variance_has_a_closed_form():
    assert variance_preserving_gain("relu") == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)))


@pytest.mark.parametrize("name", NAMES)
def test_the_normalised_activation_keeps_signal_and_gradient(name):
    repaired, phi = gaussian_poincare(name), activation(name)
    # a plain Riemann sum, independent of the quadrature; kinks cost it 1e-5
    z = np.linspace(-10, 10, 400_001)
    weight = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    value = repaired.scale * phi.value(z) + repaired.shift
    assert weight @ value**2 == pytest.approx(1.0, abs=1e-4)
    assert weight @ (repaired.scale * phi.slope(z)) ** 2 == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("size", "centers"), [(8, True), (8, False), (64, True), (64, False)])
def test_the_projection_gain_is_that_of_torch(size, centers):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, size, generator=generator, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(20_000, size, generator=generator, dtype=torch.float64)
    if centers:
        y, scale = torch.nn.functional.layer_norm(x, (size,), eps=0.0), x.std(1, correction=0)
    else:
        y, scale = torch.nn.functional.rms_norm(x, (size,), eps=0.0), x.square().mean(1).sqrt()
    (gradient,) = torch.autograd.grad(y, x, cotangent)
    left = (gradient * scale.detach()[:, None]).norm() / cotangent.norm()
    assert left.item() == pytest.approx(projection_gain(size, centers=centers), rel=2e-3)


def test_a_batch_too_small_for_a_mean_gain_is_refused():
    with pytest.raises(UsageError, match="at least 4, got 3"):
        batch_norm_linear_gain(3)

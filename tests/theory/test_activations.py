import numpy as np
import pytest
import torch
from torch.nn import functional

from gradfuga._errors import UsageError
from gradfuga.theory.activations import NAMES, activation, celu, elu, hardtanh, knows, leaky_relu

IN_TORCH = {name: getattr(functional, name) for name in NAMES if hasattr(functional, name)} | {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}
# off the kinks, where the slope has two values
GRID = np.linspace(-9.0, 9.0, 1801) + 1.234e-3


@pytest.mark.parametrize("name", NAMES)
def test_value_and_slope_are_those_of_torch(name):
    x = torch.tensor(GRID, dtype=torch.float64, requires_grad=True)
    y = IN_TORCH[name](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    phi = activation(name)
    np.testing.assert_allclose(phi.value(GRID), y.detach().numpy(), rtol=1e-12, atol=1e-14)
    # torch keeps constants such as 1/6 in float32 also for float64 tensors: 3e-8
    np.testing.assert_allclose(phi.slope(GRID), slope.numpy(), rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (leaky_relu(0.2), lambda x: functional.leaky_relu(x, 0.2)),
        (hardtanh(-2.0, 0.5), lambda x: functional.hardtanh(x, -2.0, 0.5)),
        (elu(2.5), lambda x: functional.elu(x, 2.5)),
        (celu(0.3), lambda x: functional.celu(x, 0.3)),
    ],
    ids=["leaky_relu", "hardtanh", "elu", "celu"],
)
def test_parameters_mean_what_they_mean_in_torch(ours, torchs):
    x = torch.tensor(GRID, dtype=torch.float64, requires_grad=True)
    y = torchs(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    # torch keeps 1/alpha in float32 also for float64 tensors: 2e-8 of an exponent of up to 30
    np.testing.assert_allclose(ours.value(GRID), y.detach().numpy(), rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(ours.slope(GRID), slope.numpy(), rtol=1e-6, atol=1e-13)
    # the grid comes within 0.01 of the kink
    assert ours.steepest == pytest.approx(np.abs(slope.numpy()).max(), rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_steepest_slope_is_the_supremum(name):
    phi = activation(name)
    grid = np.linspace(-12.0, 12.0, 1_200_001)
    # the next number below 3 and 0: suprema that are reached from the left only
    grid = np.concatenate([grid, np.nextafter([3.0, 0.0], -1.0)])
    steepest = np.abs(phi.slope(grid)).max()
    # softplus and logsigmoid reach 1 at infinity only: 6e-6 short of it at 12
    assert steepest == pytest.approx(phi.steepest, rel=1e-5)
    assert steepest <= phi.steepest * (1.0 + 1e-9)


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("LeakyReLU", "leaky_relu"),
        ("LeakyReluBackward0", "leaky_relu"),
        ("SiLU", "silu"),
        ("swish", "silu"),
        ("LogSigmoidBackward0", "logsigmoid"),
        ("Hardswish", "hardswish"),
        ("ReLU6", "relu6"),
    ],
)
def test_an_activation_is_found_however_the_field_spells_it(spelled, canonical):
    assert activation(spelled).name == canonical


def test_an_unknown_activation_is_refused_with_the_names_that_exist():
    assert not knows("swiglu")
    with pytest.raises(UsageError, match=r"relu.*got 'swiglu'"):
        activation("swiglu")

"""Oracle O8: the law of the gradient's norm over initialisations, by Monte Carlo."""

import math

import pytest
import torch

from gradfuga.theory.finite_width import inverse_width_sum, kappa, reach_law

NETS, WIDTH, DEPTH = 2000, 32, 8


def log_squared_norms(relu):
    """log |J^T u|^2 of `NETS` critical networks, one input and one unit cotangent each."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    h = draw(NETS, WIDTH, 1)
    weights, gates = [], []
    for _ in range(DEPTH):
        weight = math.sqrt((2.0 if relu else 1.0) / WIDTH) * draw(NETS, WIDTH, WIDTH)
        z = weight @ h
        gate = (z > 0).double() if relu else torch.ones_like(z)
        weights.append(weight)
        gates.append(gate)
        h = gate * z
    delta = torch.nn.functional.normalize(draw(NETS, WIDTH, 1), dim=1)
    for weight, gate in zip(reversed(weights), reversed(gates), strict=True):
        delta = weight.mT @ (gate * delta)
    return delta.square().sum((1, 2)).log()


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_o8_the_log_norm_is_normal_with_the_mean_and_variance_of_the_law(name):
    logs = log_squared_norms(name == "relu")
    law = reach_law(kappa(name), inverse_width_sum([WIDTH] * DEPTH))
    decades = logs / (2.0 * math.log(10.0))
    # beta = 1/4, and the law is of first order in it: 10 % of the mean, 15 % of the variance,
    # besides three standard errors of a mean of 2000 and of their variance
    slack = 3.0 * law.sd / math.sqrt(NETS)
    assert decades.mean().item() == pytest.approx(law.mean, abs=0.1 * abs(law.mean) + slack)
    error = 3.0 * math.sqrt(2.0 / NETS)
    assert decades.var().item() == pytest.approx(law.sd**2, rel=0.15 + error)
    # the median network vanishes, the mean of the square is conserved
    assert decades.median() < 0.0
    assert logs.exp().mean().item() == pytest.approx(1.0, abs=0.15)

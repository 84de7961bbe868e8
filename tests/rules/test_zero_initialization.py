"""Weights that start at zero, and those that may."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga import diagnose, observe
from gradfuga._types import Role
from gradfuga.analysis.build import build_case
from gradfuga.rules.act004_dead_relu import RULE as DEAD
from gradfuga.rules.ini004_zero_initialization import RULE as ZERO


def trained(zeros, *, steps=30):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    for place in zeros:
        nn.init.zeros_(model[place].weight)
        nn.init.zeros_(model[place].bias)
    x = torch.randn(60, 6)
    y = x[:, :3].argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return observer.readings


@pytest.mark.parametrize("zeros", [(0, 2, 4), (0,), (2,)])
def test_layers_at_zero_are_the_cause_and_no_dead_relu_is(zeros):
    readings = trained(zeros)
    diagnosis = diagnose(readings)
    assert diagnosis.verdict.value == "dead_units"
    assert [(cause.name, cause.code) for cause in diagnosis.causes] == [("small_init", "INI004")]
    (finding,) = ZERO.check(build_case(readings))
    assert finding.role is Role.CAUSE
    assert finding.evidence[0].observed == 0.0
    assert not list(DEAD.check(build_case(readings)))


@pytest.mark.parametrize("zeros", [(), (4,)])
def test_a_head_at_zero_and_drawn_weights_are_fine(zeros):
    assert not list(ZERO.check(build_case(trained(zeros))))

"""The rule on units that start alike, on trainings that run."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Verdict

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(192, 6, generator=GENERATOR)
Y = (X @ torch.randn(6, 4, generator=GENERATOR)).argmax(1)


def constant(value):
    def draw(model):
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, value)
                nn.init.zeros_(module.bias)

    return draw


def zero_head(model):
    nn.init.zeros_(model[-1].weight)


def as_drawn(model):
    pass


def diagnosed(draw, activation=nn.ReLU, *, warm_up=0, steps=150):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 24), activation(), nn.Linear(24, 24), activation(), nn.Linear(24, 4)
    )
    draw(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, s / max(warm_up, 1)))
    with observe(model, optimizer) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
            rate.step()
    return diagnose(observer.readings)


def codes(diagnosis):
    return {each.code for each in diagnosis.findings}


@pytest.mark.parametrize("value", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_units_that_start_alike_are_named(value, activation):
    diagnosis = diagnosed(constant(value), activation)
    if value == 0.0 and activation is nn.ReLU:  # dead for the same zeros: that is said first
        assert diagnosis.verdict is Verdict.DEAD_UNITS
        assert [cause.code for cause in diagnosis.causes] == ["INI004"]
        return
    assert diagnosis.verdict is Verdict.STALLED
    assert [cause.name for cause in diagnosis.causes] == ["small_init"]
    assert "INI005" in codes(diagnosis)
    assert "INI001" not in codes(diagnosis)  # of a flow that is not why
    assert "GRD008" not in codes(diagnosis)
    # scaled, normalised or bypassed, equal units stay equal
    assert {edit.kind for rx in diagnosis.prescriptions for edit in rx.edits} == {"initialize"}


@pytest.mark.parametrize("warm_up", [0, 50])
@pytest.mark.parametrize("draw", [as_drawn, zero_head])
def test_a_head_that_starts_at_zero_is_none_of_them(draw, warm_up):
    diagnosis = diagnosed(draw, warm_up=warm_up)
    assert diagnosis.verdict is Verdict.HEALTHY
    assert "INI005" not in codes(diagnosis)

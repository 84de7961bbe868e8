"""A network of which long steps have killed most units, and which learns a little with the rest."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Severity, Verdict
from gradfuga.analysis.build import build_case
from gradfuga.analysis.conditions import lost_units


@cache
def trained(rate, activation=nn.ReLU):
    data = load_digits()
    x, y = torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), activation(), nn.Linear(128, 128), activation(), nn.Linear(128, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with observe(model, optimizer, every=10) as observer:
        for _ in range(10):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
    return observer.readings


def test_steps_that_kill_most_units_are_named_though_it_learns_a_little():
    readings = trained(0.3)
    diagnosis = diagnose(readings)
    assert (diagnosis.verdict, diagnosis.severity) == (Verdict.DEAD_UNITS, Severity.SERIOUS)
    assert [cause.name for cause in diagnosis.causes] == ["learning_rate_too_high"]
    assert set(lost_units(build_case(readings))) <= {"1", "3"}
    codes = {each.code for each in diagnosis.findings}
    assert "OPT001" in codes
    assert not {"GRD008", "GRD009"} & codes  # "it learns, but" would contradict the verdict


@pytest.mark.parametrize(("rate", "activation"), [(1e-3, nn.ReLU), (1e-2, nn.ReLU), (0.3, nn.ELU)])
def test_a_sound_rate_or_an_activation_that_cannot_die_loses_none(rate, activation):
    readings = trained(rate, activation)
    assert lost_units(build_case(readings)) == ()
    assert diagnose(readings).verdict is not Verdict.DEAD_UNITS

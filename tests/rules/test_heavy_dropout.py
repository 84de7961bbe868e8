"""Dropout that drowns the gradient, on trainings that run, with the same network without it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Kind
from gradfuga.analysis.build import REACH_LIMIT
from gradfuga.analysis.dropped import dropout_noise
from gradfuga.rules.act007_heavy_dropout import RULE
from rules.cases import Training

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(512, 20, generator=GENERATOR)
LABELS = (X[:, 0] * X[:, 1] + X[:, 2] > 0).long()


class Net(nn.Module):
    def __init__(self, p, depth, *, functional):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(20 if k == 0 else 48, 48) for k in range(depth))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
        self.head = nn.Linear(48, 2)
        self.p, self.drop = p, None if functional else nn.Dropout(p)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
            x = F.dropout(x, self.p, self.training) if self.drop is None else self.drop(x)
        return self.head(x)


def trained(p, depth, *, functional=False, steps=400):
    torch.manual_seed(1)
    model = Net(p, depth, functional=functional)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(2)
    with observe(model, optimizer) as observer:
        for _ in range(steps):
            rows = torch.randint(0, len(X), (64,), generator=draw)
            optimizer.zero_grad()
            F.cross_entropy(model(X[rows]), LABELS[rows]).backward()
            optimizer.step()
    return diagnose(observer.readings)


def findings(diagnosis):
    return [each for each in diagnosis.findings if each.code == "ACT007"]


@pytest.mark.parametrize("functional", [False, True])
def test_heavy_dropout_is_named_and_nothing_else_is_blamed(functional):
    diagnosis = trained(0.95, 4, functional=functional)
    assert diagnosis.verdict == "stalled"
    assert not diagnosis.causes
    (finding,) = findings(diagnosis)
    assert finding.evidence[0].observed == pytest.approx(2 * 1.30103, abs=1e-3)  # 4 x log10(20)/2
    assert finding.evidence[1].observed == pytest.approx(0.95, abs=1e-6)
    assert trained(0.0, 4, functional=functional).verdict == "healthy"  # the control


def test_ordinary_dropout_is_left_alone():
    diagnosis = trained(0.3, 3)
    assert diagnosis.verdict == "healthy"
    assert not findings(diagnosis)


def test_the_noise_of_independent_masks_adds_up_and_the_rule_flips_at_its_limit():
    idle = Training().that_learns_nothing()
    made = idle.reading("act.3", Kind.ACTIVATION, "dropped_share", 0.95)
    made = made.reading("act.1", Kind.ACTIVATION, "dropped_share", 0.5)
    noise = dropout_noise(made.case)
    assert noise == pytest.approx(0.650515 + 0.150515, abs=1e-6)
    assert not list(RULE.check(made.case))
    assert RULE.limit == REACH_LIMIT
    heavy = made.reading("act.2", Kind.ACTIVATION, "dropped_share", 0.95)
    assert list(RULE.check(heavy.case))
    assert not list(type(RULE)(limit=1.46).check(heavy.case))
    learning = Training().reading("act.3", Kind.ACTIVATION, "dropped_share", 0.999)
    assert not list(RULE.check(learning.case))

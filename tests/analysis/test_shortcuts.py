"""What is beside a shortcut, what a dropout drops, and what a norm over a sum takes away."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga import diagnose, observe
from gradfuga._types import Kind
from gradfuga.analysis.build import build_case
from gradfuga.analysis.claims import account
from gradfuga.flow import OpRole


def observed(model, x, *, steps=1, rate=0.01):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    y = torch.arange(len(x)) % 3
    with observe(model, optimizer, every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return observer.readings


class Projected(nn.Module):
    """A block whose shortcut is a projection and whose branch starts at zero."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(12, 12)
        self.short = nn.Linear(6, 12)
        self.scale = nn.LayerNorm(12)
        nn.init.zeros_(self.scale.weight)

    def forward(self, x):
        return torch.relu(self.short(x) + self.scale(self.b(torch.relu(self.a(x)))))


class Gated(nn.Module):
    """Two linear layers of which one gates the other: no shortcut."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(6, 12)

    def forward(self, x):
        return torch.relu(self.a(x) * torch.sigmoid(self.b(x)))


class Sum(nn.Module):
    """Two branches, both through an activation: neither is a shortcut."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(6, 12)

    def forward(self, x):
        return torch.tanh(self.a(x)) + torch.tanh(self.b(x))


@pytest.mark.parametrize(
    ("block", "gated"),
    [
        (Projected, {"1.a", "1.b", "1.short"}),
        (Gated, set()),
        (Sum, set()),
    ],
)
def test_what_runs_beside_a_projection_starves_nothing_below_it(block, gated):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), block(), nn.Linear(12, 3))
    case = build_case(observed(model, torch.randn(30, 6)))
    assert {layer.path for layer in case.layers if layer.gated} == gated


def test_branches_that_start_at_zero_beside_projections_are_no_lost_time():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), Projected(), nn.Linear(12, 3))
    x = torch.randn(30, 6)
    x[torch.arange(30), torch.arange(30) % 3] += 4.0
    diagnosis = diagnose(observed(model, x, steps=60, rate=0.3))
    assert diagnosis.verdict.value == "healthy"
    assert not {"GRD005", "GRD008"} & {each.code for each in diagnosis.findings}


def test_the_gain_of_dropout_is_taken_off():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Dropout(0.9), nn.Linear(64, 64), nn.Dropout(0.9), nn.Linear(64, 3)
    )
    for layer in model[::2]:
        nn.init.orthogonal_(layer.weight)
    readings = observed(model, torch.randn(300, 64))
    roles = [op.role for op in readings.graph.ops if op.module_type == "Dropout"]
    assert roles == [OpRole.STRUCTURAL] * 2
    case = build_case(readings)
    # a mask that keeps a tenth and multiplies it by ten makes a norm sqrt(10) times larger
    whole = case.readings.matrix(["0", "4"], Kind.ACTIVATION_GRAD, "norm", (0,))[0]
    assert math.log10(whole[0] / whole[1]) == pytest.approx(1.0, abs=0.1)
    assert case.reach[0, -1] == pytest.approx(0.0, abs=0.1)


class PostNorm(nn.Module):
    def __init__(self, strength):
        super().__init__()
        self.layer, self.norm = nn.Linear(32, 32), nn.LayerNorm(32)
        nn.init.orthogonal_(self.layer.weight, gain=strength)

    def forward(self, x):
        return self.norm(x + self.layer(x))


def test_a_norm_over_a_sum_is_blamed_with_the_sum_and_not_the_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), *(PostNorm(4.0) for _ in range(6)), nn.Linear(32, 3))
    readings = observed(model, torch.randn(60, 32))
    found = account(readings, 0)
    case = build_case(readings)
    blocks = [claim for claim in found.claims if claim.cause == "unscaled_residual"]
    assert len(blocks) == 6
    for claim in blocks:
        op = readings.graph.ops[claim.op]
        above = next(o for o in readings.graph.ops if o.path == op.path.split("/")[0] + ".norm")
        top = readings.at(0, above.path, Kind.ACTIVATION_GRAD, "norm")
        end = readings.graph.main_line[readings.graph.main_line.index(claim.op) + 1]
        bottom = readings.at(0, readings.graph.ops[end].path, Kind.ACTIVATION_GRAD, "norm")
        assert claim.decades == pytest.approx(math.log10(bottom / top), abs=1e-5)
    assert not any("norm" in path for path in found.paths("small_init"))
    assert case.blamed.total == pytest.approx(sum(claim.decades for claim in found.claims))

"""Networks of several inputs: each tower has a line of its own, and the sicker one speaks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Axis, Verdict
from gradfuga.analysis.build import build_case


def shallow():
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 8))


def deep_sigmoid(layers=7):
    parts = [nn.Linear(6, 24), nn.Sigmoid()]
    for _ in range(layers - 1):
        parts += [nn.Linear(24, 24), nn.Sigmoid()]
    return nn.Sequential(*parts, nn.Linear(24, 8))


class Towers(nn.Module):
    """Two towers whose outputs are multiplied; `first` is run before `second`."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, a, b):
        return (self.first(a) * self.second(b)).sum(-1)


class Gated(nn.Module):
    """A gate on the raw inputs beside the layer that it multiplies: two ways, but no towers."""

    def __init__(self):
        super().__init__()
        self.value, self.gate, self.head = nn.Linear(6, 24), nn.Linear(6, 24), nn.Linear(24, 1)

    def forward(self, a, b):
        x = torch.cat([a, b], -1)[:, 3:9]
        return self.head(self.value(x) * torch.sigmoid(self.gate(x)))[:, 0]


def trained(model, steps=250):
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    mix = torch.randn(6, 6)
    with observe(model, optimizer, every=25) as observer:
        for _ in range(steps):
            a, b = torch.randn(2, 96, 6)
            y = (((a @ mix) * b).sum(-1) > 0).float()
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(a, b), y).backward()
            optimizer.step()
    return observer.readings


@pytest.mark.parametrize("sick", ["first", "second"])
def test_the_sick_tower_is_found_whichever_runs_first(sick):
    torch.manual_seed(0)
    towers = {"first": shallow(), "second": shallow(), sick: deep_sigmoid()}
    readings = trained(Towers(**towers))
    diagnosis = diagnose(readings)
    assert (diagnosis.verdict, diagnosis.axis) == (Verdict.VANISHING, Axis.DEPTH)
    assert diagnosis.causes[0].name == "contracting_activation"
    assert all(path.startswith(f"{sick}.") for path in diagnosis.causes[0].paths)
    assert all(path.startswith(f"{sick}.") for path in diagnosis.depth.path)
    case = build_case(readings)
    ops = [case.graph.ops[index] for index in case.line]
    assert ops[-1].path == f"{sick}.0"
    # the gains along that line multiply to what was measured at its end
    at = next(n for n, layer in enumerate(case.layers) if layer.path == f"{sick}.0")
    assert case.blamed.total == pytest.approx(case.reach[0, at], abs=1e-9)


def test_sound_towers_keep_the_main_line_and_accuse_nobody():
    torch.manual_seed(0)
    readings = trained(Towers(shallow(), shallow()), steps=400)
    case = build_case(readings)
    assert case.line == case.graph.main_line
    assert not any(layer.gated for layer in case.layers)
    assert diagnose(readings).verdict is Verdict.HEALTHY


def test_a_gate_on_the_inputs_has_a_line_of_its_own():
    torch.manual_seed(0)
    case = build_case(trained(Gated(), steps=100))
    graph = case.graph
    ends = {graph.ops[graph.deepest[layer]].path for layer in graph.layers}
    assert ends == {"value", "gate"}
    line = [graph.ops[index].path for index in graph.line_to(graph.op("gate").index)]
    assert line[-4:] == ["head", "mul", "sigmoid", "gate"]

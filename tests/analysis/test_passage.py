"""What is said of the gradient's way is what was seen: arrived, exactly zero, none, not opened."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga._types import Role
from gradfuga.analysis.build import build_case
from gradfuga.analysis.passage import blocks, cut_off, spread
from gradfuga.readings import ParameterRecord, Readings


class Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


class Nothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return None


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.gate = nn.Parameter(torch.zeros(1))
        self.between = between

    def forward(self, x):
        return self.c(torch.tanh(self.b(self.between(self, torch.tanh(self.a(x))))))


def trained(between, *, steps=12, flat=False, make=Net, every=1):
    torch.manual_seed(0)
    model = make(between)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x = torch.randn(32, 6)
    y = (x[:, 0] > 0).long()
    x = torch.where(x == x.max(), 1e-6, 0.0) if flat else x  # next to nothing tells them apart
    with observe(model, optimizer, every=every) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return observer.readings


def through(model, x):
    return x + model.gate * 0.0


BLOCKING = {
    "zeros": lambda model, x: Zeros.apply(x),
    "nothing": lambda model, x: Nothing.apply(x),
    "round": lambda model, x: torch.round(4 * x),
    "times_zero": lambda model, x: x * torch.zeros(()),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_an_op_that_gives_nothing_on_is_found_with_its_line_and_what_it_starves(name):
    readings = trained(BLOCKING[name])
    case = build_case(readings)
    (block,) = blocks(case)
    assert block.weights == ("a.weight",)
    assert f'"{name}": lambda' in block.op.source.text
    assert cut_off(case) == {"a.weight"}
    # what is multiplied by zero leaves the layer above without an input, so without a gradient
    assert spread(case).fed == (1 if name == "times_zero" else 2)
    counts = {p.path: (p.arrived, p.zero, p.missing) for p in readings.record.parameters}
    gone = (0, 0, 12) if name == "nothing" else (0, 12, 0)
    assert counts["a.weight"] == gone
    assert counts["c.weight"] == (12, 0, 0)
    assert not readings.series("a.weight", "weight_grad", "norm")[1].any()


@pytest.mark.parametrize(
    "between",
    [
        through,
        lambda model, x: x + Zeros.apply(x),  # another path feeds what is below
        lambda model, x: x + model.gate * x,  # ReZero: zero at first
        lambda model, x: torch.relu(x),
    ],
)
def test_zero_branches_and_bypassed_ops_block_nothing(between):
    case = build_case(trained(between))
    assert not blocks(case)
    assert spread(case) == replace(spread(case), of=3, fed=3, closed=0)


def test_dead_units_are_no_disconnection():
    def dead(model, x):
        return torch.relu(x - 100.0)

    readings = trained(dead)
    case = build_case(readings)
    assert not blocks(case)
    assert spread(case).fed < 3  # and that every layer was reached is not said
    assert "every layer" not in diagnose(readings).summary


def test_what_is_cut_off_is_accused_where_nothing_is_learned():
    diagnosis = diagnose(trained(BLOCKING["zeros"], steps=200, flat=True, every=20))
    found = next(each for each in diagnosis.findings if each.code == "FLW001")
    assert (found.role, found.cause) == (Role.CAUSE, "disconnected")
    assert "'zeros'" in found.message
    assert "'a.weight'" in found.message
    assert any('"zeros": lambda' in line.text for line in found.source)
    assert "every layer" not in diagnosis.summary


def test_what_is_cut_off_in_a_network_that_learns_is_a_note():
    diagnosis = diagnose(trained(BLOCKING["zeros"], steps=60))
    found = next(each for each in diagnosis.findings if each.code == "FLW001")
    assert diagnosis.verdict == "healthy"
    assert (found.role, found.cause) == (Role.NOTE, "")
    assert "every layer" not in diagnosis.summary


def test_a_healthy_network_that_was_not_opened_everywhere_says_so():
    readings = trained(through, steps=60)
    assert "the gradient reaches every layer" in diagnose(readings).summary
    shut = [replace(p, opened=p.path != "b.weight") for p in readings.record.parameters]
    partly = Readings(
        readings.rows(),
        graph=readings.graph,
        record=replace(readings.record, parameters=tuple(shut)),
    )
    summary = diagnose(partly).summary
    assert "reaches 3 of 3 layers; 1 of them were not opened" in summary


def test_records_without_counts_go_by_the_graph():
    record = ParameterRecord("a", (), (2, 2), trainable=True, optimized=True, reached=True)
    assert record.fed
    assert not replace(record, reached=False).fed
    assert not replace(record, zero=3).fed
    assert replace(record, arrived=1, zero=3).fed

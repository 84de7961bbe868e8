"""A part of the observer that fails is said once and switched off; the rest goes on."""

import logging

import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.parts import Parts
from gradfuga._torch.tape import Tape
from gradfuga.stats import slope

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))


def train(model, inputs=X, steps=12):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), LABELS).backward()
            optimizer.step()
    return observer.readings


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def test_a_part_is_said_once_in_one_line(caplog):
    parts = Parts()
    for number in range(3):
        parts.fail("the tape", NotImplementedError(f"no {number}\n" + "CPU: registered\n" * 60))
    parts.fail("the loss", ValueError("x" * 1000))
    assert not parts.work("the tape")
    assert parts.work("the parameters")
    first, second = [record.getMessage() for record in caplog.records]
    assert "NotImplementedError: no 0. It is switched off" in first
    assert "registered" not in first
    assert len(second) < 400


def test_a_statistic_that_fails_is_tried_once_in_a_run(caplog, monkeypatch):
    calls = []

    def broken(self, view):
        calls.append(view.name)
        raise ArithmeticError("not this one")

    monkeypatch.setattr(type(slope.STATISTIC), "measure", broken)
    readings = train(mlp())
    assert len(calls) == 1
    assert len(caplog.records) == 1
    assert len(readings.series("0", "activation_grad", "norm")[0]) == 12


def test_an_op_that_cannot_be_read_costs_its_own_readings_alone(caplog, monkeypatch):
    measure = Tape._measure

    def broken(self, place, node, *rest):
        if node.name() == "TanhBackward0":
            raise ArithmeticError("not this one")
        measure(self, place, node, *rest)

    monkeypatch.setattr(Tape, "_measure", broken)
    readings = train(mlp())
    assert [record.getMessage().count("'Tanh'") for record in caplog.records] == [1]
    assert not len(readings.series("1", "activation_grad", "norm")[0])
    assert len(readings.series("0", "activation_grad", "norm")[0]) == 12


def test_sparse_inputs_are_read_without_a_word(caplog):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, adjacency):
            return self.outer(torch.relu(torch.sparse.mm(adjacency, self.inner.weight.T)))

    torch.manual_seed(0)
    caplog.set_level(logging.WARNING)
    readings = train(Graph(), inputs=torch.eye(6).to_sparse())
    assert not caplog.records
    assert len(readings.series("inner.weight", "weight_grad", "norm")[0]) == 12
    assert len(readings.losses[0]) == 12

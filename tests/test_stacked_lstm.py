"""A stack of LSTM layers fades over depth by its gates, and the account says so."""

import math

import pytest
import torch
from torch import nn

from gradfuga._diagnose import diagnose
from gradfuga._observe import observe
from gradfuga.analysis.account import UNEXPLAINED
from gradfuga.analysis.claims import account

LAYERS = 6


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 24, num_layers=LAYERS, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


@pytest.fixture(scope="module")
def readings():
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    target = torch.randn(32, 4)
    with observe(model, optimizer, every=20) as observer:
        for _ in range(200):
            x = torch.randn(64, 8, 4)
            loss = nn.functional.cross_entropy(model(x), (x.flatten(1) @ target).argmax(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return observer.readings


def test_each_layer_takes_what_its_gates_and_its_weights_take(readings):
    found = account(readings, 0)
    assert sum(claim.decades for claim in found.claims) == pytest.approx(found.total)
    gates = [c for c in found.claims if c.cause == "contracting_activation"]
    assert len(gates) == LAYERS - 1
    # half-open gates pass a quarter; the other gates add a little, the cell's tanh takes a little
    for claim in gates:
        assert claim.decades == pytest.approx(math.log10(0.25), abs=0.05)
    weights = [c for c in found.claims if c.cause == "small_init" and "weight_ih" in c.path]
    for claim in weights:  # torch draws uniformly within 1/sqrt(H): a scale of 1/sqrt(3)
        assert claim.decades == pytest.approx(-0.5 * math.log10(3.0), abs=0.03)
    assert found.shares()[UNEXPLAINED] < 0.25


def test_the_verdict_names_the_lstm_and_a_way_out(readings):
    diagnosis = diagnose(readings)
    assert diagnosis.verdict.value == "vanishing"
    cause = diagnosis.causes[0]
    assert cause.name == "contracting_activation"
    assert cause.paths[0].startswith("lstm.weight_ih_l")
    message = next(f.message for f in diagnosis.findings if f.code == "ACT001")
    assert message.startswith("LSTM at 'lstm.weight_ih_l")
    assert "RX064" in [each.remedy for each in diagnosis.prescriptions]

"""Edits on recurrent layers: what replaces them, what opens their gates."""

import pytest
import torch
from torch import nn

from gradfuga._edits import Initialize, ReplaceRecurrent, SetGateBias
from gradfuga._torch.surgery import apply


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_plain_recurrent_layer_is_replaced_behind_the_same_interface(kind):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.RNN(3, 5, 2, batch_first=True), nn.Linear(5, 2)

        def forward(self, x):
            out, h = self.rnn(x, torch.zeros(2, len(x), 5))
            return self.head(h[-1]) + 0 * out.sum()

    model = Reader()
    old = [id(p) for p in model.rnn.parameters()]
    operation = apply(model, None, [ReplaceRecurrent(kind)])
    assert type(model.rnn) is {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
    assert model(torch.randn(4, 7, 3)).shape == (4, 2)
    assert list(operation.replaced) == old
    came = [p for new in operation.replaced.values() for p in new]
    assert [id(p) for p in came] == [id(p) for p in model.rnn.parameters()]


def test_gates_open_by_the_sum_of_both_biases():
    lstm, gru = nn.Sequential(nn.LSTM(3, 4)), nn.Sequential(nn.GRU(3, 400))
    apply(lstm, None, [SetGateBias(1.0)])
    apply(gru, None, [SetGateBias(horizon=100)])
    both = lstm[0].bias_ih_l0 + lstm[0].bias_hh_l0
    assert torch.equal(both[4:8], torch.ones(4))
    keep = (gru[0].bias_ih_l0 + gru[0].bias_hh_l0)[400:800].detach().exp()
    assert (keep >= 1.0).all()
    assert (keep <= 99.001).all()
    assert float(keep.detach().mean()) == pytest.approx(
        50.0, abs=5.0
    )  # uniform on [1, 99], 400 draws


def test_recurrent_weights_become_orthogonal_or_the_identity_gate_by_gate():
    model = nn.Sequential(nn.LSTM(3, 4), nn.RNN(4, 4))
    apply(model, None, [Initialize("orthogonal", 1.0, recurrent=True)])
    for block in model[0].weight_hh_l0.chunk(4):
        assert torch.allclose(block @ block.T, torch.eye(4), atol=1e-5)
    apply(model, None, [Initialize("identity", 1.0, recurrent=True, paths=("1",))])
    assert torch.equal(model[1].weight_hh_l0, torch.eye(4))


@pytest.mark.parametrize("scheme", ["orthogonal", "identity"])
def test_the_weight_of_a_loop_is_drawn_where_it_is_named(scheme):
    model = nn.ModuleDict({"feed": nn.Linear(3, 4), "again": nn.Linear(4, 4)})
    model.register_parameter("matrix", nn.Parameter(torch.randn(4, 4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    edit = Initialize(scheme, 0.5, recurrent=True, paths=("again.weight", "matrix"))
    assert apply(model, None, [edit]).done == [edit]
    for name, value in model.state_dict().items():
        if name in edit.paths:
            assert torch.allclose(value @ value.T, 0.25 * torch.eye(4), atol=1e-5)
        else:
            assert torch.equal(value, before[name])
    oblong = Initialize("orthogonal", recurrent=True, paths=("feed.weight",))
    assert not apply(model, None, [oblong]).done


def test_the_named_input_weights_become_orthogonal_gate_by_gate():
    model = nn.Sequential(nn.LSTM(3, 4, num_layers=2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    edit = Initialize("orthogonal", 4.0, recurrent=True, inputs=True, paths=("0.weight_ih_l1",))
    assert apply(model, None, [edit]).done == [edit]
    for block in model[0].weight_ih_l1.chunk(4):
        assert torch.allclose(block @ block.T, 16.0 * torch.eye(4), atol=1e-4)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name != "0.weight_ih_l1")

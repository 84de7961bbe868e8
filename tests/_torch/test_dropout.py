"""Dropout is the same op as a module and as a function: its gain is no weight's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._torch.dropout import dropped_share
from gradfuga.analysis.build import build_case
from gradfuga.flow import OpRole

X = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
LABELS = (X[:, 0] > 0).long()


class Net(nn.Module):
    def __init__(self, kind, p, depth=5):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10 if k == 0 else 32, 32) for k in range(depth))
        self.head = nn.Linear(32, 2)
        self.kind, self.p, self.drop = kind, p, nn.Dropout(p)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
            x = self.drop(x) if self.kind == "module" else F.dropout(x, self.p, self.training)
        return self.head(x)


def case_of(kind, p):
    torch.manual_seed(1)
    model = Net(kind, p)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(X), LABELS).backward()
            optimizer.step()
    return build_case(observer.readings)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95])
def test_functional_dropout_is_read_as_the_module_is(p):
    module, function = case_of("module", p), case_of("functional", p)
    assert np.allclose(module.reach, function.reach, atol=1e-12, equal_nan=True)
    for case in (module, function):
        masks = [op for op in case.graph.ops if op.name == "mul"]
        assert masks
        assert all(op.role is OpRole.STRUCTURAL for op in masks)
    claims = [c for c in function.start.claims if "mul" in c.path]
    assert not claims


def node_of(mask):
    return (torch.randn(64, 10, requires_grad=True) * mask).grad_fn


def test_other_products_are_no_dropout():
    coin = (torch.rand(64, 10, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    assert dropped_share(node_of(coin * 2.0)) == pytest.approx(0.5)
    assert dropped_share(node_of(coin)) is None  # a mask of the user's
    assert dropped_share(node_of(coin * 4.0)) is None  # it drops half and scales by four
    assert dropped_share(node_of(coin * torch.rand(64, 10))) is None
    assert dropped_share(node_of(torch.full((64, 10), 2.0))) is None
    assert dropped_share(node_of(2.0)) is None
    assert dropped_share(node_of(torch.randn(64, 10, requires_grad=True))) is None

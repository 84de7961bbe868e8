"""Residual branches are scaled once, at their end."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._edits import ScaleBranch
from gradfuga._observe import observe
from gradfuga._torch.surgery import apply
from gradfuga.flow import OpRole
from gradfuga.rules._branches import branch_ends


@pytest.fixture
def x():
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(3))


def test_a_branch_is_scaled(x):
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
    expected = 0.25 * model[0](x)
    apply(model, None, [ScaleBranch(0.25, paths=("0",))])
    assert torch.allclose(model[0](x), expected)


class Residual(nn.Module):
    """A block with one sum, whose shortcut is registered last."""

    def __init__(self, *, normalized):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.norm1 = nn.LayerNorm(6)
        self.second = nn.Linear(6, 6)
        if normalized:
            self.norm2 = nn.LayerNorm(6)
        self.shortcut = nn.Linear(6, 6)

    def forward(self, x):
        h = self.second(F.relu(self.norm1(self.first(x))))
        return self.shortcut(x) + (self.norm2(h) if hasattr(self, "norm2") else h)


class TwoSums(nn.Module):
    """A pre-norm block as transformers have it, its normalizations registered last."""

    def __init__(self):
        super().__init__()
        self.mixer = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        self.mlp = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
        self.norm1, self.norm2 = nn.LayerNorm(6), nn.LayerNorm(6)

    def forward(self, x):
        x = x + self.mixer(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@pytest.mark.parametrize(
    ("block", "paths", "plain"),
    [
        (Residual(normalized=False), ("0/add",), lambda block, x: block.shortcut(x)),
        (Residual(normalized=True), ("0/add",), lambda block, x: block.shortcut(x)),
        (TwoSums(), ("0/add", "0/add#2"), lambda _block, x: x),
    ],
)
def test_each_branch_is_scaled_once_at_its_end(block, paths, plain, x):
    model = nn.Sequential(block)
    full = model(x)
    operation = apply(model, None, [ScaleBranch(0.0, learned=True, paths=paths)])
    assert torch.allclose(model(x), plain(block, x), atol=1e-6)
    assert len(operation.joined) == len(paths)
    with torch.no_grad():
        for _, scale in operation.joined:
            scale.fill_(1.0)
    assert torch.allclose(model(x), full, atol=1e-6)


class InOneLoop(nn.Module):
    """Blocks that are no modules: the layers of all of them stand in two lists."""

    def __init__(self, blocks):
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.first = nn.ModuleList(nn.Linear(6, 6) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(6, 6) for _ in range(blocks))

    def forward(self, x):
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = 1.0 * second(F.relu(first(x))) + x
        return x


@pytest.mark.parametrize("inside", [False, True])
def test_of_sums_that_no_block_holds_the_added_layers_are_named(inside, x):
    body = InOneLoop(5)
    model = nn.Sequential(body, nn.Linear(6, 2)) if inside else body
    path = "0." if inside else ""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with observe() as observer:
        for _ in range(2):
            model(x).square().sum().backward()
            optimizer.step()
    graph = observer.trainings[0].graph
    sums = [op.path for op in graph.ops if op.role is OpRole.MERGE]
    ends = branch_ends(graph, sums)
    assert sorted(ends) == [f"{path}second.{block}" for block in range(5)]
    stem = body.stem(x).detach()
    apply(model, None, [ScaleBranch(0.0, paths=ends)])
    assert torch.allclose(body(x), stem)


def test_sums_of_blocks_keep_their_own_paths(x):
    model = nn.Sequential(*(Residual(normalized=False) for _ in range(5)), nn.Linear(6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with observe() as observer:
        for _ in range(2):
            model(x).square().sum().backward()
            optimizer.step()
    graph = observer.trainings[0].graph
    sums = [op.path for op in graph.ops if op.role is OpRole.MERGE]
    assert len(sums) == 5
    assert list(branch_ends(graph, sums)) == sums

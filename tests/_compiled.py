"""Trainings of compiled models, held to themselves unobserved and to the same ones not compiled."""

import copy
import random
from contextlib import nullcontext

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters

from gradfuga._observe import observe
from gradfuga._types import Kind

STEPS, EVERY = 6, 2
# Rounding of float32 in gradients of these small networks, whatever the order of the operations.
CLOSE = 1e-4


class Block(nn.Module):
    def __init__(self, width=8, drop=0.0):
        super().__init__()
        self.norm, self.lin = nn.LayerNorm(width), nn.Linear(width, width)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return x + self.drop(torch.sigmoid(self.lin(self.norm(x))))


class Net(nn.Module):
    """Blocks between a stem and a head."""

    def __init__(self, drop=0.0):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList([Block(drop=drop) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.tanh(self.stem(x))
        for block in self.blocks:
            h = block(h)
        return self.head(h)


def batch(number, size=12):
    chance = torch.Generator().manual_seed(number)
    return torch.randn(size, 6, generator=chance), torch.arange(size) % 3


def plain_step(model, optimizer, number):
    x, y = batch(number)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


def compile_whole(model):
    return torch.compile(model, backend="aot_eager")


def compile_in_place(model):
    model.compile(backend="aot_eager")
    return model


def compile_blocks(model):
    for place, block in enumerate(model.blocks):
        model.blocks[place] = torch.compile(block, backend="aot_eager")
    return model


def compile_blocks_in_place(model):
    for block in model.blocks:
        block.compile(backend="aot_eager")
    return model


def not_compiled(model):
    return model


class Trained:
    """A finished training: its weights and buffers, and what it has drawn and compiled."""

    def __init__(self, build, how, step, *, observed=True, attach_first=True, steps=STEPS):
        torch.compiler.reset()
        counters.clear()
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = build()
        called = None if attach_first else how(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with observe(every=EVERY) if observed else nullcontext() as observer:
            called = how(model) if called is None else called
            for number in range(steps):
                step(called, optimizer, number)
        self.model, self.readings = model, observer.readings if observed else None
        self.state = copy.deepcopy(model.state_dict())
        self.gradients = [p.grad for p in model.parameters()]
        self.drawn = torch.rand(3), random.random(), np.random.rand()
        self.compiled = {name: dict(count) for name, count in counters.items()}


def same_training(one, other):
    assert one.state.keys() == other.state.keys()
    assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert all(
        a is b if a is None or b is None else torch.equal(a, b)
        for a, b in zip(one.gradients, other.gradients, strict=True)
    )
    assert torch.equal(one.drawn[0], other.drawn[0])
    assert one.drawn[1:] == other.drawn[1:]


def check(build, how, step=plain_step, *, attach_first=True, within=CLOSE, more=False):
    """Hold a compiled training to itself without us, and to its readings when not compiled."""
    bare = Trained(build, how, step, observed=False, attach_first=attach_first)
    seen = Trained(build, how, step, attach_first=attach_first)
    same_training(bare, seen)
    assert seen.compiled == bare.compiled  # no graph more, no graph break, no recompilation
    assert not torch.nn.modules.module._has_any_global_hook()
    assert not torch.is_anomaly_enabled()
    eager = Trained(build, not_compiled, step)
    assert not seen.readings.record.warnings
    same_readings(seen.readings, eager.readings, within=within, more=more)
    same_graph(seen.readings.graph, eager.readings.graph)
    assert all(each.opened for each in seen.readings.record.parameters)
    return seen


def same_readings(one, other, *, within, more=False):
    kinds = Kind.ACTIVATION_GRAD, Kind.ACTIVATION, Kind.WEIGHT, Kind.WEIGHT_GRAD, Kind.LOSS
    names = [
        {(k, n, p) for k in kinds for n in readings_of(r, k) for p in r.paths(k, n)}
        for r in (one, other)
    ]
    assert names[0] == names[1] or (more and names[0] > names[1])
    assert any(kind is Kind.ACTIVATION_GRAD for kind, _, _ in names[0])
    for kind, name, path in names[1]:
        steps, values = one.series(path, kind, name)
        other_steps, others = other.series(path, kind, name)
        if kind is Kind.LOSS:  # between samples a loss is not looked for in a compiled region
            others = others[np.isin(other_steps, steps)]
            other_steps = other_steps[np.isin(other_steps, steps)]
        assert steps.tolist() == other_steps.tolist() != []
        alike = np.allclose(values, others, rtol=within, atol=1e-7, equal_nan=True)
        assert alike, (kind, path, name)


def readings_of(readings, kind):
    table = readings.table.to_pylist()
    return {row["statistic"] for row in table if row["kind"] == kind.value}


def same_graph(one, other):
    assert [op.path for op in one.ops] == [op.path for op in other.ops]
    assert one.edges == other.edges
    assert one.outputs == other.outputs
    assert one.layers == other.layers
    assert [op.module for op in one.ops] == [op.module for op in other.ops]
    # of two passes over one graph eager mode knows the lines of the first only
    assert all(b.source in (None, a.source) for a, b in zip(one.ops, other.ops, strict=True))
    assert any(op.source for op in one.ops)


def opaque(build, how, step=plain_step, *, told, compiled=None):
    """Hold a training that cannot be opened to itself without us; it says so."""
    bare = Trained(build, how, step, observed=False)
    seen = Trained(build, how, step)
    same_training(bare, seen)
    for name in compiled or bare.compiled:
        assert seen.compiled[name] == bare.compiled[name]
    assert not torch.nn.modules.module._has_any_global_hook()
    warnings = seen.readings.record.warnings
    assert any(told in text for text in warnings), warnings
    named = dict(seen.model.named_parameters())
    assert len(seen.readings.paths(Kind.WEIGHT_GRAD, "norm")) == len(named)
    return seen

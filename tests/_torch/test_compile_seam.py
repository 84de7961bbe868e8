"""A program that compiles is neither warned nor recompiled because it is observed."""

import warnings

import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe
from gradfuga._types import Kind


def train(*, compiled_first, steps=12):
    torch.compiler.reset()
    torch.manual_seed(0)
    graphs = 0

    def backend(graph, inputs):
        nonlocal graphs
        graphs += 1
        return graph.forward

    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    if compiled_first:
        fast = torch.compile(model, backend=backend)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))

    def loop():
        nonlocal fast
        if not compiled_first:
            fast = torch.compile(model, backend=backend)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(fast(x), y).backward()
            optimizer.step()

    fast = fast if compiled_first else None
    return model, loop, lambda: graphs


def weights(model):
    return [p.detach().clone() for p in model.parameters()]


def check(*, compiled_first):
    model, loop, count = train(compiled_first=compiled_first)
    loop()
    bare, bare_graphs = weights(model), count()
    original = torch.compile
    model, loop, count = train(compiled_first=compiled_first)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with observe(every=3) as observer:
            loop()
    assert torch.compile is original
    assert not torch.nn.modules.module._has_any_global_hook()
    assert count() == bare_graphs == 1  # no graph break, no recompilation
    assert all(torch.equal(one, two) for one, two in zip(bare, weights(model), strict=True))
    readings = observer.readings
    assert readings.record.steps == 12
    # the parameters are read as always
    assert len(readings.paths(Kind.WEIGHT_GRAD, "norm")) == 4


def test_compiling_while_observed_is_not_disturbed():
    check(compiled_first=False)


def test_what_is_compiled_before_the_observation_is_not_disturbed():
    check(compiled_first=True)


def test_what_a_compiled_function_holds_counts_as_not_opened():
    torch.compiler.reset()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    with observe(every=1) as observer:
        fast = torch.compile(model.forward, backend="aot_eager")
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(fast(x), y).backward()
            optimizer.step()
    parameters = observer.readings.record.parameters
    assert [each.arrived for each in parameters] == [4, 4, 4, 4]
    assert not any(each.opened for each in parameters)
    assert observer.readings.record.warnings == (
        "the inside of what is compiled, except for modules",
    )

"""`torch.autograd.grad` is read as a backward pass where its gradients become a step's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def hand_over(model, gradients):
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient


def by_grad(model):
    gradients = torch.autograd.grad(F.cross_entropy(model(X), LABELS), list(model.parameters()))
    hand_over(model, gradients)


def by_iterator(model):
    loss = F.cross_entropy(model(X), LABELS)
    hand_over(model, torch.autograd.grad(outputs=loss, inputs=model.parameters()))


def by_dict(model):
    weights = dict(model.named_parameters())
    given = torch.autograd.grad([F.cross_entropy(model(X), LABELS)], weights)
    hand_over(model, given.values())


def detached(model):
    loss = F.cross_entropy(model(X), LABELS)
    given = torch.autograd.grad(loss, [*model.parameters()])
    model.held = given  # as long as the tensors live, their storage tells
    hand_over(model, [gradient.detach() for gradient in given])


def by_backward(model):
    for parameter in model.parameters():
        parameter.grad = None
    F.cross_entropy(model(X), LABELS).backward()


def trained(fill, steps=4, *, every=1):
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=every) as observer:
        for _ in range(steps):
            fill(model)
            optimizer.step()
    return observer.readings, model


def rows(readings):
    return {
        (row["step"], row["path"], row["kind"], row["statistic"]): row["value"]
        for row in readings.table.to_pylist()
    }


@pytest.mark.parametrize("fill", [by_grad, by_iterator, by_dict, detached])
def test_the_rows_are_those_of_a_backward_pass(fill):
    """The independent reference: the same training by `loss.backward()`."""
    expected, _ = trained(by_backward)
    seen, _ = trained(fill)
    assert seen.record.warnings == ()
    assert rows(seen) == pytest.approx(rows(expected), nan_ok=True, rel=1e-12)
    assert len(seen.graph.layers) == 2


def test_the_loss_is_known_between_the_samples_too():
    steps = trained(by_grad, 9, every=4)[0].losses[0]
    assert steps.tolist() == list(range(9))


def penalty(model):
    """A gradient penalty, with respect to inputs, then `backward`."""
    by_backward_with(model, lambda: input_gradient(model, create_graph=True).square().sum())


def adversary(model):
    """An adversarial example first: its gradient is of an input."""
    by_backward_with(model, lambda: 0.0 * input_gradient(model).sum())


def inner(model):
    """A first-order inner loop: its gradients make other weights, and are handed to nobody."""
    given = torch.autograd.grad(7.0 * F.cross_entropy(model(X), LABELS), [*model.parameters()])
    names = [name for name, _ in model.named_parameters()]
    fast = {n: p - 0.1 * g for n, p, g in zip(names, model.parameters(), given, strict=True)}
    for parameter in model.parameters():
        parameter.grad = None
    F.cross_entropy(torch.func.functional_call(model, fast, X), LABELS).backward()


def by_backward_with(model, extra):
    for parameter in model.parameters():
        parameter.grad = None
    (F.cross_entropy(model(X), LABELS) + extra()).backward()


def input_gradient(model, **settings):
    x = X.clone().requires_grad_()
    return torch.autograd.grad(model(x).square().sum(), x, **settings)[0]


def losses_by_hand(fill):
    """Return what the optimizer minimises: the losses that the script's `backward` is given."""
    noted, original = [], torch.Tensor.backward

    def backward(self, *args, **kwargs):
        noted.append(self.item())
        return original(self, *args, **kwargs)

    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.Tensor.backward = backward
    try:
        for _ in range(4):
            fill(model)
            optimizer.step()
    finally:
        torch.Tensor.backward = original
    return noted


@pytest.mark.parametrize("fill", [penalty, adversary, inner])
def test_a_call_that_serves_something_else_is_no_part_of_the_step(fill):
    readings, _ = trained(fill)
    np.testing.assert_allclose(readings.losses[1], losses_by_hand(fill), rtol=1e-6)
    assert readings.record.warnings == ()


def copies(model):
    loss = F.cross_entropy(model(X), LABELS)
    given = torch.autograd.grad(loss, [*model.parameters()])
    hand_over(model, [0.5 * gradient for gradient in given])


def test_gradients_that_the_script_has_changed_on_the_way_are_read_without_a_loss():
    readings, model = trained(copies)
    assert len(readings.losses[0]) == 0
    assert not readings.paths("activation_grad", "norm")
    last = readings.series("0.weight", "weight_grad", "norm")[1][-1]
    assert last == pytest.approx(float(model[0].weight.grad.double().norm()), rel=1e-6)


def test_inside_a_function_transform_nothing_is_read_twice():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights):
        return F.cross_entropy(torch.func.functional_call(model, weights, X), LABELS)

    with observe(model, optimizer, every=1) as observer:
        hand_over(model, torch.func.grad(loss)(weights).values())
        optimizer.step()
    assert len(observer.readings.losses[0]) == 0
    assert observer.readings.record.warnings == ()


def test_errors_are_pythons_own_and_what_follows_is_read():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observe(model, optimizer, every=1) as observer:
        with pytest.raises(RuntimeError, match="appears to not have been used"):
            torch.autograd.grad(model[0](X).sum(), list(model.parameters()))
        with pytest.raises(TypeError, match="grad"):
            torch.autograd.grad()
        by_grad(model)
        optimizer.step()
    assert len(observer.readings.losses[0]) == 1
    assert observer.readings.record.warnings == ()


def test_the_function_is_put_back_and_a_kept_one_only_passes_on():
    original = torch.autograd.grad
    with observe() as observer:
        kept = torch.autograd.grad
        assert kept is not original
    assert torch.autograd.grad is original
    x = torch.ones(3, requires_grad=True)
    assert kept(x.square().sum(), x)[0].tolist() == [2.0, 2.0, 2.0]
    assert observer.trainings == ()


def test_a_compiled_function_sees_the_original_alone():
    def slope(x):
        return torch.autograd.grad(x.square().sum(), x)[0]

    def graphs():
        taken = []

        def backend(graph, inputs):
            taken.append([node.target for node in graph.graph.nodes])
            return graph.forward

        torch.compiler.reset()
        given = torch.compile(slope, backend=backend)(torch.ones(3, requires_grad=True))
        assert given.tolist() == [2.0, 2.0, 2.0]
        return taken

    bare = graphs()
    with observe():
        observed = graphs()
    torch.compiler.reset()
    assert bare
    assert observed == bare

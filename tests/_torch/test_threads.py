"""Each thread that trains is followed by itself; autograd's own threads belong to their pass."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga._observe import observe

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
X = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
# Norms of float32 gradients, summed in another order than in float64.
FLOAT32 = 1e-5


def mlp(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


def exact_norm(model):
    """Norm of the last weight's gradient in float64, by autograd.grad on a copy."""
    twin = copy.deepcopy(model).double()
    loss = F.cross_entropy(twin(X.double()), LABELS)
    return float(torch.autograd.grad(loss, [twin[2].weight])[0].norm())


def test_two_models_in_two_threads_are_two_trainings_with_their_own_losses():
    truth, models = {}, (mlp(0), mlp(1))
    turn = threading.Barrier(2, timeout=20)

    def work(number):
        model = models[number]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * (number + 1))
        for _ in range(20):
            turn.wait()
            truth.setdefault(number, []).append(
                (float(F.cross_entropy(model(X), LABELS).detach()), exact_norm(model))
            )
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X), LABELS)
            turn.wait()  # both graphs are there before either runs backward
            loss.backward()
            optimizer.step()

    with observe(every=1) as observer:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    readings = {r.record.settings["lr"]: r for r in observer.trainings}
    assert set(readings) == {0.1, 0.2}
    for number, one in enumerate((readings[0.1], readings[0.2])):
        assert one.record.steps == 20
        losses = [loss for loss, _ in truth[number]]
        assert one.losses[1].tolist() == pytest.approx(losses, rel=FLOAT32)
        norms = [norm for _, norm in truth[number]]
        (path,) = (p for p in one.paths("weight_grad", "norm") if p.endswith("2.weight"))
        assert one.series(path, "weight_grad", "norm")[1] == pytest.approx(norms, rel=FLOAT32)


def test_a_thread_that_begins_while_another_runs_backward_is_a_training_of_its_own():
    """Its whole first step falls into the other's backward pass."""
    truth = {}
    begun, done = threading.Event(), threading.Event()

    def work(number, *, before=None, inside=None):
        model = mlp(number)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * (number + 1))
        if before is not None:
            assert before.wait(20)
        for _ in range(3):
            loss = F.cross_entropy(model(X), LABELS)
            truth.setdefault(number, []).append(float(loss.detach()))
            if inside is not None:
                loss.register_hook(inside)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        done.set()

    def hold(gradient):
        begun.set()
        assert done.wait(20)

    with observe(every=1) as observer:
        one = threading.Thread(target=work, args=(0,), kwargs={"inside": hold})
        other = threading.Thread(target=work, args=(1,), kwargs={"before": begun})
        for thread in (one, other):
            thread.start()
        for thread in (one, other):
            thread.join()
    seen = {r.record.settings["lr"]: r.losses[1].tolist() for r in observer.trainings}
    assert len(observer.trainings) == 2
    assert seen[0.1] == pytest.approx(truth[0], rel=FLOAT32)
    assert seen[0.2] == pytest.approx(truth[1], rel=FLOAT32)


class Nested(torch.autograd.Function):
    """Runs a backward pass inside its own, so deep that autograd goes on in a thread of its own."""

    @staticmethod
    def forward(ctx, x, depth, last):
        ctx.depth, ctx.last = depth, last
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            if ctx.depth:
                inner = torch.ones(1, requires_grad=True)
                torch.autograd.backward(Nested.apply(inner, ctx.depth - 1, ctx.last))
            else:
                ctx.last()
        return gradient, None, None


def test_a_step_in_a_thread_of_autograds_own_is_a_step_of_the_pass_that_runs():
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    main, elsewhere = threading.get_ident(), []

    def step(parameter):
        elsewhere.append(threading.get_ident() != main)
        optimizer.step()
        optimizer.zero_grad()

    weight.register_post_accumulate_grad_hook(step)
    with observe(every=1) as observer:
        for _ in range(3):
            start = torch.ones(1, requires_grad=True)
            last = lambda: torch.autograd.backward(weight.square().sum())  # noqa: E731
            Nested.apply(start, 70, last).sum().backward()
    assert elsewhere == [True] * 3  # else this test shows nothing
    assert weight.tolist() == pytest.approx([0.8**3] * 3)
    assert [one.record.steps for one in observer.trainings] == [3]

"""The short way through steps that are not sampled records what the long way would."""

import math

import pytest
import torch
from torch import nn

from gradfuga import observe

X, Y = torch.randn(16, 5), torch.randn(16, 2)
NEVER = 10**6  # samples step 0 only


def network():
    torch.manual_seed(0)
    net = nn.Linear(5, 2)
    return net, torch.optim.SGD(net.parameters(), lr=0.01)


def lost(net, rows=slice(None)):
    return nn.functional.mse_loss(net(X[rows]), Y[rows])


def losses(observer, number=0):
    steps, values = observer.trainings[number].losses
    assert steps.tolist() == list(range(len(values)))
    return values.tolist()


def plain(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_every_loss_is_recorded():
    net, optimizer = network()
    with observe(net, optimizer, every=NEVER) as observer:
        truth = [plain(optimizer, lost(net)) for _ in range(200)]
    assert losses(observer) == pytest.approx(truth)


def test_micro_batches_that_begin_in_the_middle_are_averaged():
    net, optimizer = network()
    truth = []
    with observe(net, optimizer, every=NEVER) as observer:
        for step in range(30):
            if step < 10 or step >= 20:
                truth.append(plain(optimizer, lost(net)))
                continue
            optimizer.zero_grad()
            parts = [lost(net, slice(start, start + 4)) for start in range(0, 16, 4)]
            for part in parts:
                part.backward()
            optimizer.step()
            truth.append(sum(part.item() for part in parts) / 4)
    assert losses(observer) == pytest.approx(truth)


def test_a_second_optimizer_that_begins_in_the_middle_has_its_own_losses():
    net, optimizer = network()
    other = nn.Linear(5, 2)
    second = torch.optim.SGD(other.parameters(), lr=0.01)
    one, two = [], []
    with observe(every=NEVER) as observer:
        for step in range(40):
            one.append(plain(optimizer, lost(net)))
            if step >= 20:
                two.append(plain(second, lost(other)))
    assert losses(observer) == pytest.approx(one)
    assert losses(observer, 1) == pytest.approx(two)


def test_a_closure_in_the_middle_counts_its_first_loss():
    net, optimizer = network()
    truth = []
    with observe(net, optimizer, every=NEVER) as observer:
        for step in range(12):
            if step % 4:
                truth.append(plain(optimizer, lost(net)))
                continue

            def closure():
                optimizer.zero_grad()
                loss = lost(net)
                loss.backward()
                return loss

            truth.append(optimizer.step(closure).item())
    assert losses(observer) == pytest.approx(truth)


def test_a_pass_without_a_step_and_a_step_without_a_pass_are_no_loss():
    net, optimizer = network()
    truth = []
    with observe(net, optimizer, every=NEVER) as observer:
        for step in range(20):
            truth.append(plain(optimizer, lost(net)))
            if step == 9:
                optimizer.step()  # the same gradients once more
                assert torch.autograd.grad(lost(net), net.weight)[0].shape == (2, 5)
    steps, values = observer.trainings[0].losses
    assert values.tolist() == pytest.approx(truth)
    assert steps.tolist() == [step + (step > 9) for step in range(20)]


def test_steps_inside_the_backward_pass_are_steps():
    net, _ = network()
    inside = {p: torch.optim.SGD([p], lr=0.01) for p in net.parameters()}

    def step_now(parameter):
        inside[parameter].step()
        inside[parameter].zero_grad()

    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(step_now)
    truth = []
    with observe(every=NEVER) as observer:
        for _ in range(20):
            loss = lost(net)
            loss.backward()
            truth.append(loss.item())
    assert losses(observer) == pytest.approx(truth)


def test_a_loss_that_breaks_between_samples_is_recorded_and_its_origin_found():
    net, optimizer = network()
    with observe(net, optimizer, every=NEVER) as observer:
        for step in range(10):
            loss = lost(net) * (math.nan if step == 7 else 1.0)
            plain(optimizer, loss)
    values = losses(observer)
    assert [math.isnan(value) for value in values] == [False] * 7 + [True] * 3


def test_a_backward_pass_that_raises_leaves_the_way_open():
    net, optimizer = network()
    truth = []
    with observe(net, optimizer, every=NEVER) as observer:
        for step in range(10):
            loss = lost(net)
            if step == 5:
                broken = net(X)
                broken.register_hook(lambda _: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    broken.sum().backward()
                optimizer.zero_grad()
            truth.append(plain(optimizer, loss))
    assert len(losses(observer)) == len(truth)


def test_closures_alone_count_their_first_loss_at_every_step():
    net, _ = network()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    with observe(net, optimizer, every=NEVER) as observer:

        def closure():
            optimizer.zero_grad()
            loss = lost(net)
            loss.backward()
            return loss

        truth = [optimizer.step(closure).item() for _ in range(6)]
    assert losses(observer) == pytest.approx(truth)

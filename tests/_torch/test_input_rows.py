"""What is counted of the inputs: NaN, and what tells one example from another."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradfuga import observe

X = torch.arange(24.0).reshape(4, 6)


def counted(statistic, given, model=None):
    torch.manual_seed(0)
    model = nn.Linear(given.shape[-1], 1) if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with observe(model, optimizer, every=1) as observer:
        for _ in range(2):
            optimizer.zero_grad()
            F.mse_loss(model(given).mean(-1), torch.zeros(given.shape[:-1])).backward()
            optimizer.step()
    return observer.readings.series("input", "activation", statistic)[1].tolist()


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (torch.zeros(4, 6), 0.0),
        (X[:1].expand(4, 6), 0.0),  # one example, repeated
        (X, 18.0),  # all values of the three others
        (X[:, :, None].expand(4, 6, 2), 36.0 + 40.0),  # along either of the first two axes
        (X[0].expand(4, 6)[:, :, None], 20.0),  # a series that starts alike may be [T, B, 1]
    ],
)
def test_values_that_differ_from_the_first_example_are_counted(given, count):
    assert counted("varying", given) == [count] * 2


def test_a_batch_of_one_says_nothing_about_what_examples_share():
    assert counted("varying", X[:1]) == []
    assert counted("nonfinite", X[:1]) == [0.0] * 2


def test_what_weights_have_made_is_no_data():
    torch.manual_seed(0)
    first, second = nn.Linear(6, 6), nn.Linear(6, 1)
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=1e-3)
    with observe(nn.ModuleList([first, second]), optimizer, every=1) as observer:
        for _ in range(2):
            optimizer.zero_grad()
            F.mse_loss(second(first(X) * math.inf), torch.ones(4, 1)).backward()
            optimizer.step()
    assert observer.readings.series("input", "activation", "nonfinite")[1].tolist() == [0.0] * 2


@pytest.mark.parametrize("every", [1, 10])
def test_targets_that_are_not_finite_are_counted_in_samples_and_between_them(every):
    torch.manual_seed(0)
    model = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with observe(model, optimizer, every=every) as observer:
        for step in range(30):
            target = torch.ones(4, 1)
            if step == 25:
                target[2] = math.nan
            optimizer.zero_grad()
            F.mse_loss(model(X), target).backward()
            optimizer.step()
    steps, counts = observer.readings.series("target", "loss", "nonfinite")
    assert dict(zip(steps.tolist(), counts.tolist(), strict=True))[25] == 1.0


@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss, lambda a, b: ((a - b) ** 2).mean()])
def test_an_empty_batch_switches_nothing_off(loss):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with observe(model, optimizer, every=2) as observer:
        for step in range(12):
            x = X[: 0 if step in (4, 5) else 4]
            optimizer.zero_grad()
            loss(model(x), torch.ones(len(x), 1)).backward()
            optimizer.step()
    assert observer.readings.record.warnings == ()

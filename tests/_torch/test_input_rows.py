"""What is counted of the inputs: NaN, and what tells one example from another."""

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

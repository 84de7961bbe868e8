"""Shapes that broadcasting crosses, and broadcasting that is meant."""

import pytest
import torch

from gradfuga._torch.crossing import crossing

N, K, Q = 6, 3, 5


@pytest.mark.parametrize(
    ("prediction", "target", "own", "held"),
    [
        ((N, 1), (N,), (N, 1), (1, N)),
        ((N,), (N, 1), (1, N), (N, 1)),
        ((N, 1, 1), (N, 1), (N, 1, 1), (1, N, 1)),
    ],
)
def test_a_batch_that_runs_along_two_axes_is_crossed(prediction, target, own, held):
    p, t = torch.randn(prediction), torch.randn(target)
    pairs = torch.broadcast_tensors(p, t)[1]
    for seen in (pairs, pairs.clone()):  # by its strides, and by its values
        found = crossing(p, seen)
        assert found is not None
        assert (found.prediction, found.target) == (own, held)


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        ((N, 1), (N, 1)),
        ((N, K), (N, K)),
        ((K, N, 1), (N, 1)),  # an ensemble against one target
        ((N, 1), (K, N, 1)),  # one prediction against several annotators
        ((N, Q), (N, 1)),  # quantiles of one target
        ((N, Q, 1), (N, 1, Q)),  # every quantile against every quantile of the same example
        ((N, 1), (1, 1)),  # one target for all
        ((N, 1), ()),
        ((N, 1), (K,)),  # a grid of thresholds
        ((1, 1), (1,)),  # a batch of one
    ],
)
def test_broadcasting_that_keeps_the_batch_in_step_is_not_crossed(prediction, target):
    p, t = torch.randn(prediction), torch.randn(target)
    shapes = torch.broadcast_tensors(p, t)
    assert crossing(p, shapes[1]) is None
    assert crossing(p, shapes[1].clone()) is None


def test_equal_targets_are_not_taken_for_a_repeated_axis():
    assert crossing(torch.randn(N, 1), torch.ones(N, N)) is None

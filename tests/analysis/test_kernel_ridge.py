"""The closed forms of the kernel ridge against fits that really leave an example out."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gradfuga.analysis.kernel_ridge import (
    PENALTIES,
    arc_cosine_kernel,
    arc_cosine_smoother,
    linear_smoother,
)


def ridge_without(features, targets, index, penalty):
    """Fit a ridge with a free intercept without one example; return its prediction there."""
    kept = np.delete(np.arange(len(features)), index)
    x, y = features[kept], targets[kept]
    center, mean = x.mean(axis=0), y.mean(axis=0)
    gram = (x - center).T @ (x - center) + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, (x - center).T @ (y - mean))
    return mean + (features[index] - center) @ weights


def kernel_ridge_without(kernel, targets, index, penalty):
    kept = np.delete(np.arange(len(kernel)), index)
    inner, across = kernel[np.ix_(kept, kept)], kernel[index, kept]
    rows = inner.mean(axis=0)
    centered = inner - rows - rows[:, None] + rows.mean()
    mean = targets[kept].mean(axis=0)
    dual = np.linalg.solve(centered + penalty * np.eye(len(kept)), targets[kept] - mean)
    return mean + (across - across.mean() - rows + rows.mean()) @ dual


@pytest.mark.parametrize("penalty", [PENALTIES[0], 0.1, 10.0, PENALTIES[-1]])
def test_leave_one_out_is_the_fit_without_the_example(penalty):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((40, 6)), generator.standard_normal((40, 3))
    smoother = linear_smoother(x)
    absolute = penalty * smoother.values.sum() / 40
    (predicted,) = smoother.leave_one_out(y, [penalty])
    expected = [ridge_without(x, y, index, absolute) for index in range(40)]
    np.testing.assert_allclose(predicted, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("penalty", [PENALTIES[0], 0.1, 10.0])
def test_leave_one_out_holds_for_a_kernel_that_interpolates(penalty):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((40, 6)), generator.standard_normal((40, 3))
    kernel, smoother = arc_cosine_kernel(x, 3), arc_cosine_smoother(x, 3)
    absolute = penalty * smoother.values.sum() / 40
    (predicted,) = smoother.leave_one_out(y, [penalty])
    expected = [kernel_ridge_without(kernel, y, index, absolute) for index in range(40)]
    np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("penalty", [PENALTIES[0], 0.1, 10.0])
def test_a_group_is_predicted_by_the_fit_without_it(penalty):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((40, 6)), generator.standard_normal((40, 3))
    groups = np.concatenate([np.arange(20) % 7, np.arange(7, 27)])  # of 2, 3 and 1
    smoother = replace(linear_smoother(x), groups=groups)
    absolute = penalty * smoother.values.sum() / 40
    (predicted,) = smoother.leave_one_out(y, [penalty])
    for group in range(27):
        inside = groups == group
        center, mean = x[~inside].mean(axis=0), y[~inside].mean(axis=0)
        gram = (x[~inside] - center).T @ (x[~inside] - center) + absolute * np.eye(6)
        weights = np.linalg.solve(gram, (x[~inside] - center).T @ (y[~inside] - mean))
        expected = mean + (x[inside] - center) @ weights
        np.testing.assert_allclose(predicted[inside], expected, rtol=1e-8, atol=1e-9)


def test_an_interpolating_fit_does_not_hand_the_target_back():
    # more columns than examples and next to no penalty: every leverage is 1 - 1e-9
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((30, 29)), generator.standard_normal((30, 1))
    smoother = linear_smoother(x)
    absolute = 1e-9 * smoother.values.sum() / 30
    (predicted,) = smoother.leave_one_out(y, [1e-9])
    expected = [ridge_without(x, y, index, absolute) for index in range(30)]
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)


def test_the_arc_cosine_kernel_is_that_of_a_wide_relu_network():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((4, 5))
    width, draws = 400, 60
    total = np.zeros((4, 4))
    for _ in range(draws):
        first = x @ generator.standard_normal((5, width)) / math.sqrt(5)
        h = np.maximum(first + math.sqrt(0.1) * generator.standard_normal(width), 0.0)
        second = h @ generator.standard_normal((width, width)) * math.sqrt(2 / width)
        total += np.maximum(second, 0.0) @ np.maximum(second, 0.0).T * 2 / width
    # 24 000 features, correlated within a draw: about 1 %
    np.testing.assert_allclose(arc_cosine_kernel(x, 2), total / draws, rtol=0.05)


@pytest.mark.parametrize("count", [300, 650, 664, 900])
def test_examples_that_have_nothing_in_common_tell_nothing_about_each_other(count):
    smoother = arc_cosine_smoother(np.eye(count), 3)
    assert smoother.values.size == count - 1  # the constant is the intercept's, not the kernel's
    targets = np.random.default_rng(0).standard_normal((count, 1))
    # leave-one-out is the mean of the others, whatever the penalty
    others = (targets.sum() - targets) / (count - 1)
    for predicted in smoother.leave_one_out(targets, PENALTIES):
        np.testing.assert_allclose(predicted, others, atol=1e-6)

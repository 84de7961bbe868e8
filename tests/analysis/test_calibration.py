"""Calibrated losses against chances that are known."""

import numpy as np
import pytest

from gradfuga.analysis.calibration import binary_losses, sigmoid_losses, softmax_losses
from gradfuga.analysis.kernel_ridge import linear_smoother


def test_a_useless_input_costs_no_more_than_the_label_entropy():
    generator = np.random.default_rng(0)
    x, labels = generator.standard_normal((600, 2)), generator.integers(0, 5, 600)
    one_hot = np.eye(5)[labels]
    prior = one_hot.mean(axis=0)
    entropy = -(prior * np.log(prior)).sum()
    assert softmax_losses(linear_smoother(x), one_hot).mean(axis=1).min() == pytest.approx(
        entropy, rel=0.01
    )


def test_two_classes_cost_the_same_by_softmax_and_by_sigmoid():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((500, 1))
    chance = 1.0 / (1.0 + np.exp(-3.0 * x))
    label = (generator.random((500, 1)) < chance).astype(float)
    entropy = binary_losses(label, chance).mean()
    smoother = linear_smoother(x)
    by_sigmoid = sigmoid_losses(smoother, label).mean(axis=1).min()
    by_softmax = softmax_losses(smoother, np.hstack([1.0 - label, label])).mean(axis=1).min()
    # the true chances are logistic in x: both reach their entropy but for the coarse grid
    assert by_sigmoid == pytest.approx(entropy, rel=0.03)
    assert by_softmax == pytest.approx(entropy, rel=0.03)


def test_hard_and_soft_paths_agree_on_hard_labels():
    generator = np.random.default_rng(0)
    x, labels = generator.standard_normal((100, 3)), generator.integers(0, 4, 100)
    one_hot = np.eye(4)[labels]
    softened = one_hot * (1.0 - 4e-12) + 1e-12
    smoother = linear_smoother(x)
    np.testing.assert_allclose(
        softmax_losses(smoother, one_hot), softmax_losses(smoother, softened), rtol=1e-7
    )

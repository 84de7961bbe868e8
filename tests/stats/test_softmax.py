"""The softmax statistics against closed forms and explicit Jacobians in NumPy."""

import math

import numpy as np
import pytest
import torch

from gradfuga.stats.softmax import STATISTIC


def logits(*shape, scale=1.0):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
    return x.requires_grad_()


def rows_of(p, axis):
    p = np.moveaxis(p.detach().numpy(), axis, -1)
    return p.reshape(-1, p.shape[-1])


def entropy(rows):
    logs = np.log(np.where(rows > 0, rows, 1.0))
    return np.mean(-(rows * logs).sum(1)) / math.log(rows.shape[1])


def jacobian_norm(rows):
    return np.mean([np.linalg.norm(np.diag(p) - np.outer(p, p)) for p in rows])


@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 6, 9), -1), ((5, 7), 1), ((5, 7, 3), 0)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_entropy_and_jacobian_are_those_of_the_rows(measure, shape, axis, scale):
    x = logits(*shape, scale=scale)
    rows = rows_of(x.softmax(axis), axis)
    got = measure(STATISTIC, x.softmax(axis), logits(*shape).detach())
    assert got["entropy"] == pytest.approx(entropy(rows), rel=1e-12)
    assert got["jacobian_norm"] == pytest.approx(jacobian_norm(rows), rel=1e-9)


def test_log_softmax_shows_the_same_as_softmax(measure):
    x = logits(6, 11, scale=3.0)
    plain = measure(STATISTIC, x.softmax(-1))
    assert measure(STATISTIC, x.log_softmax(-1)) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("length", [2, 16, 1000])
def test_a_uniform_row_has_entropy_one_and_the_known_jacobian(measure, length):
    x = torch.zeros(4, length, dtype=torch.float64, requires_grad=True)
    got = measure(STATISTIC, x.softmax(-1))
    assert got["entropy"] == pytest.approx(1.0, rel=1e-12)
    assert got["jacobian_norm"] == pytest.approx(math.sqrt((1 - 1 / length) / length), rel=1e-9)


def test_a_one_hot_row_has_neither_entropy_nor_jacobian(measure):
    x = torch.zeros(4, 10, dtype=torch.float64)
    x[:, 3] = 1e4
    got = measure(STATISTIC, x.requires_grad_().softmax(-1))
    assert got == {"entropy": 0.0, "jacobian_norm": 0.0}


def test_a_causal_mask_leaves_a_uniform_softmax_its_known_entropy(measure):
    x = torch.zeros(2, 16, 16, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(16, 16, dtype=torch.bool).triu(1)
    got = measure(STATISTIC, x.masked_fill(mask, -math.inf).softmax(-1))
    assert got["entropy"] == pytest.approx(math.lgamma(17) / (16 * math.log(16)), rel=1e-12)


def test_many_rows_are_sampled_without_bias(measure):
    x = logits(8, 8, 64, 64, scale=2.0)  # 262,144 values: a quarter of the rows
    rows = rows_of(x.softmax(-1), -1)
    got = measure(STATISTIC, x.softmax(-1))
    assert got["entropy"] == pytest.approx(entropy(rows), abs=0.01)
    assert got["jacobian_norm"] == pytest.approx(jacobian_norm(rows), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_measured_all_the_same(measure, dtype):
    x = logits(4, 12).detach()
    truth = entropy(rows_of(x.softmax(-1), -1))
    got = measure(STATISTIC, x.to(dtype).requires_grad_().softmax(-1))
    assert got["entropy"] == pytest.approx(truth, abs=1e-2)


def test_rows_without_a_choice_have_no_statistics(measure):
    assert measure(STATISTIC, logits(5, 1).softmax(-1)) == {}
    assert measure(STATISTIC, logits(0, 4).softmax(-1)) == {}


def test_nan_is_handed_on(measure):
    x = logits(4, 5).detach()
    x[1, 2] = float("nan")
    assert math.isnan(measure(STATISTIC, x.requires_grad_().softmax(-1))["entropy"])

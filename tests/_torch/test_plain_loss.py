"""The quick reading of a plain loss says what the full reading of its node says, or nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradfuga._torch.loss import TargetPool, read_term
from gradfuga._torch.plain_loss import read_plain

LABELS = torch.tensor([0, 2, 2, 1, 2])
SHARES = torch.linspace(0.0, 1.0, 5)
PLAIN = {
    "cross entropy": lambda x: F.cross_entropy(x, LABELS),
    "cross entropy, sum": lambda x: F.cross_entropy(x, LABELS, reduction="sum"),
    "nll of pictures": lambda x: F.nll_loss(
        F.log_softmax(x.reshape(1, 3, 5, 1), 1), LABELS.reshape(1, 5, 1)
    ),
    "squares": lambda x: F.mse_loss(x, torch.arange(15.0).reshape(5, 3)),
    "squares, sum": lambda x: F.mse_loss(x[:, 0], SHARES, reduction="sum"),
    "spread targets": lambda x: F.mse_loss(x[:, :1], SHARES[:1, None]),
    "binary": lambda x: F.binary_cross_entropy(torch.sigmoid(x[:, 0]), SHARES),
    "binary logits": lambda x: F.binary_cross_entropy_with_logits(x[:, 0], SHARES.round()),
}
NOT_PLAIN = {
    "class weights": lambda x: F.cross_entropy(x, LABELS, weight=torch.tensor([1.0, 2.0, 3.0])),
    "a target left out": lambda x: F.cross_entropy(x, LABELS.masked_fill(LABELS == 1, -100)),
    "a class left out": lambda x: F.cross_entropy(x, LABELS, ignore_index=2),
    "positive weight": lambda x: F.binary_cross_entropy_with_logits(
        x[:, 0], SHARES, pos_weight=torch.tensor(3.0)
    ),
    "targets that learn": lambda x: F.mse_loss(x, x.square()),
    "bfloat16": lambda x: F.mse_loss(x.bfloat16(), torch.zeros(5, 3, dtype=torch.bfloat16)),
    "scaled": lambda x: F.mse_loss(x, torch.zeros(5, 3)) * 2,
}


def prediction():
    torch.manual_seed(0)
    return torch.randn(5, 3, requires_grad=True)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_plain_loss_is_read_as_its_node_is(name):
    loss = PLAIN[name](prediction())
    quick = read_plain(loss.grad_fn, loss.item())
    full = read_term(loss.grad_fn, torch.ones((), dtype=torch.float64))
    assert quick is not None
    assert full is not None
    assert quick.family == full.family
    assert quick.value == pytest.approx(float(full.value), rel=1e-6)  # the loss is a float32
    assert quick.weight == float(full.weight)
    np.testing.assert_allclose(quick.moments, full.moments.numpy(), rtol=1e-12)
    here = TargetPool().add(quick)
    assert here == pytest.approx(float(TargetPool().add(full)), rel=1e-12)


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_a_loss_that_needs_more_than_its_targets_is_left_to_the_full_reading(name):
    loss = NOT_PLAIN[name](prediction())
    assert read_plain(loss.grad_fn, loss.item()) is None

"""The share of touched rows against NumPy's count of distinct indices."""

import numpy as np
import pytest
import torch
from torch import nn

from gradfuga.stats.embedding import STATISTIC


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (32, 40)])
def test_touched_rows_are_counted_once(measure, kind, shape):
    indices = torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(1))
    got = measure(STATISTIC, kind(50, 3)(indices))
    assert got["touched_share"] == pytest.approx(len(np.unique(indices)) / 50, rel=1e-6)


def test_a_sparse_gradient_does_not_matter(measure):
    layer = nn.Embedding(10, 3, sparse=True)
    got = measure(STATISTIC, layer(torch.tensor([[1, 1, 2]])))
    assert got["touched_share"] == pytest.approx(0.2, rel=1e-6)


def test_half_precision_counts_exactly(measure):
    layer = nn.Embedding(4000, 2).half()
    got = measure(STATISTIC, layer(torch.arange(3001)))
    assert got["touched_share"] == pytest.approx(3001 / 4000, rel=1e-6)


def test_no_index_touches_nothing(measure):
    layer = nn.Embedding(10, 3)
    got = measure(STATISTIC, layer(torch.zeros(2, 0, dtype=torch.long)))
    assert got["touched_share"] == 0.0

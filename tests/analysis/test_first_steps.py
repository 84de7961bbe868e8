"""A task that the first steps of a long sequence decide together, none of them alone."""

import numpy as np
import pytest

from gradfuga.analysis.memory_pairs import SequenceBatch, draw_pairs
from gradfuga.analysis.window_reference import window_reference


def found(y, x):
    pairs = draw_pairs([SequenceBatch(x, y, None)], family="binary", horizon=11, per_step=False)
    return window_reference(pairs, horizon=11)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_steps_together_are_worth_more_than_a_short_memory(seed):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 50, (512, 80))
    told = found(((x[:, :5] < 25).sum(axis=1) > 2).astype(float), x)
    assert told.short < 0.05
    assert told.long - told.short > max(0.1, 3.0 * told.error)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_by_chance_are_worth_nothing(seed):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 50, (512, 80))
    told = found((generator.random(512) < 0.5).astype(float), x)
    assert told.long - told.short < 0.02

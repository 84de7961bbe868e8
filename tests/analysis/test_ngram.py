import math

import numpy as np
import pytest

from gradfuga.analysis.ngram import contexts, first_seen, ngram_losses


def test_contexts_are_equal_iff_the_last_tokens_are():
    tokens = np.array([[1, 2, 1, 2], [0, 2, 1, 2]])
    ids = contexts(tokens, 3)
    histories = {}
    for row in range(2):
        for place in range(4):
            history = (None, None, *tokens[row].tolist())[place : place + 3]
            assert histories.setdefault(history, ids[row, place]) == ids[row, place]
    assert len(set(histories.values())) == len(histories)


def test_probabilities_of_every_order_sum_to_one():
    generator = np.random.default_rng(0)
    vocabulary, known = 6, 200
    history, target = generator.integers(0, 4, known), generator.integers(0, vocabulary, known)
    # every token once as the held-out one, after the same context, in a fold of its own
    for context in (2, 9):  # 9 was never seen: backs off
        histories = [
            np.append(history, np.full(vocabulary, context)),
            np.append(10 * history, np.full(vocabulary, 10 * context)),
        ]
        goals = np.append(target, np.arange(vocabulary))
        folds = np.append(np.zeros(known, dtype=int), np.ones(vocabulary, dtype=int))
        losses = ngram_losses(histories, goals, folds)[:, known:]
        np.testing.assert_allclose(np.exp(-losses).sum(axis=1), 1.0, rtol=1e-12)


def test_absolute_discounting_has_the_value_computed_by_hand():
    # known: context 0 with targets 0 0 0 1; the held-out pair is (0, 1)
    goals = np.array([0, 0, 0, 1, 1])
    folds = np.array([0, 0, 0, 0, 1])
    loss = ngram_losses([np.zeros(5, dtype=int)], goals, folds)[0, 4]
    # pairs seen once: 1, twice: 0, so d = 1; unigram of 1: (1 + .5) / (4 + 1) = .3
    expected = (max(1 - 1, 0) + 1 * 2 * 0.3) / 4
    assert loss == pytest.approx(-math.log(expected))


def test_a_place_that_two_windows_share_counts_once():
    text = np.random.default_rng(0).integers(0, 50, 100)
    windows = np.stack([text[0:60], text[20:80], text[0:60]])
    fresh = first_seen(windows, 8)
    assert fresh[0].sum() == 60 - 7
    assert fresh[1].sum() == 20  # places 60 to 79
    assert fresh[2].sum() == 0

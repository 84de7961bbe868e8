"""Held-out losses of n-gram models: what a language task permits without a network."""

from __future__ import annotations

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_SMALLEST_DISCOUNT = 0.02  # leaves something for a pair that was never seen
_PRIOR_COUNT = 0.5  # of every token of the vocabulary, in the unigram model (Krichevsky-Trofimov)


def contexts(tokens: Integers, order: int) -> Integers:
    """Return a number for the last `order` tokens at every position, `[N, T]`, equal iff they are.

    Args:
        tokens: numbered from 0, `[N, T]`. What is before the first position counts as a token.
        order: 1 for the current token alone.
    """
    ids = tokens.copy()
    size = int(tokens.max()) + 2
    for back in range(1, order):
        earlier = np.full_like(tokens, -1)
        earlier[:, back:] = tokens[:, : tokens.shape[1] - back]
        ids = _renumbered(ids) * size + earlier + 1
    return _renumbered(ids)


def _renumbered(ids: Integers) -> Integers:
    """Return the same partition with numbers from 0 without gaps."""
    return np.unique(ids, return_inverse=True)[1].reshape(ids.shape).astype(np.int64)


def _counts(keys: Integers, wanted: Integers) -> Floats:
    """Return how often each of `wanted` occurs in `keys`."""
    found, counts = np.unique(keys, return_counts=True)
    place = np.minimum(np.searchsorted(found, wanted), found.size - 1)
    return np.where(found[place] == wanted, counts[place], 0).astype(np.float64)


def ngram_losses(histories: list[Integers], targets: Integers, folds: Integers) -> Floats:
    """Return the held-out negative log likelihood of every order, `[orders, M]`, in nats.

    Absolute discounting, interpolated:
    ``p_n(y | c) = (max(count(c, y) - d, 0) + d types(c) p_{n-1}(y)) / count(c)`` with
    ``d = n_1 / (n_1 + 2 n_2)``, counted on the other folds only.

    Args:
        histories: of every order the number of the context at each of M positions, `[M]` each.
        targets: tokens to predict, numbered from 0, `[M]`.
        folds: of the positions, `[M]`.

    References:
        Ney, Essen, Kneser 1994, On structuring probabilistic dependences in stochastic language
        modelling
    """
    vocabulary = int(targets.max()) + 1
    losses = np.zeros((len(histories), targets.size))
    for fold in np.unique(folds):
        inside, outside = folds == fold, folds != fold
        seen = np.bincount(targets[outside], minlength=vocabulary) + _PRIOR_COUNT
        chance = (seen / seen.sum())[targets[inside]]
        for row, history in enumerate(histories):
            pairs = history * vocabulary + targets
            known, counts = np.unique(pairs[outside], return_counts=True)
            once, twice = np.bincount(counts, minlength=3)[1:3]
            discount = max(float(once / max(once + 2 * twice, 1)), _SMALLEST_DISCOUNT)
            of_pair = _counts(pairs[outside], pairs[inside])
            of_context = _counts(history[outside], history[inside])
            types = _counts(known // vocabulary, history[inside])
            kept = np.maximum(of_pair - discount, 0.0) + discount * types * chance
            chance = np.where(of_context > 0.0, kept / np.maximum(of_context, 1.0), chance)
            losses[row, inside] = -np.log(chance)
    return losses


def first_seen(tokens: Integers, span: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which positions end a run of `span` tokens that no earlier position ended, `[N, T]`.

    Windows drawn from one text overlap; a position met twice would be held out and known.
    Positions with fewer than `span` tokens up to them are left out.
    """
    hashes = np.zeros(tokens.shape, dtype=np.uint64)
    factor = np.uint64(6364136223846793005)  # Knuth's; wraps modulo 2^64 on purpose
    for back in range(span):
        shifted = np.zeros(tokens.shape, dtype=np.uint64)
        shifted[:, back:] = tokens[:, : tokens.shape[1] - back]
        hashes = hashes * factor + shifted + np.uint64(1)
    flat = hashes[:, span - 1 :].ravel()
    fresh = np.zeros(flat.size, dtype=bool)
    fresh[np.unique(flat, return_index=True)[1]] = True
    out = np.zeros(tokens.shape, dtype=bool)
    out[:, span - 1 :] = fresh.reshape(tokens.shape[0], -1)
    return out

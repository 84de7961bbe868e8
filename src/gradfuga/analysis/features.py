"""Turn what a network is fed into features that a ridge regression can use."""

from __future__ import annotations

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

WIDEST = 2048  # columns; wider inputs are folded first
_FAR = 4.0  # standard deviations at which a value is clipped
_NEAR_ENOUGH = 5.5  # after clipping the rest looks a little further out again
_CONSTANT = 1e-12  # a column that varies by less, against its size, varies by rounding
_PASSES = 20  # each takes a lone outlier of 1024 examples to an eighth
_ONE_HOT_LIMIT = 2048  # columns of a position-wise one-hot code
_BUCKETS = 512  # tokens beyond so many share columns


def standardized(inputs: Floats) -> Floats:
    """Return inputs of mean 0, variance 1 and no outliers in every column that varies, `[N, D']`.

    Clipping and rescaling take turns, so that one absurd value does not flatten its column.
    Inputs wider than `WIDEST` are folded first.
    """
    columns = _folded(inputs, WIDEST)
    largest = np.maximum(columns.max(axis=0), -columns.min(axis=0))
    columns = columns / np.where(largest > 0.0, largest, 1.0)  # keeps 1e200 from overflowing
    columns = columns[:, columns.max(axis=0) - columns.min(axis=0) > _CONSTANT]
    columns -= columns.mean(axis=0)
    columns /= np.maximum(columns.std(axis=0), _CONSTANT)
    for _ in range(_PASSES):
        far = np.flatnonzero(np.maximum(columns.max(axis=0), -columns.min(axis=0)) > _NEAR_ENOUGH)
        if far.size == 0:
            break
        clipped = np.clip(columns[:, far], -_FAR, _FAR)
        clipped -= clipped.mean(axis=0)
        columns[:, far] = clipped / np.maximum(clipped.std(axis=0), _CONSTANT)
    return np.clip(columns, -_FAR, _FAR)


def _folded(inputs: Floats, width: int) -> Floats:
    """Return at most `width` columns, each a sum of some of the inputs with random signs.

    A count sketch: keeps inner products on average, as a Gaussian projection does, in one pass.
    """
    count = inputs.shape[1]
    if count <= width:
        return inputs
    generator = np.random.default_rng(0)
    order, signs = generator.permutation(count), generator.choice([-1.0, 1.0], count)
    out = np.zeros((len(inputs), width))
    for start in range(0, count, width):
        taken = order[start : start + width]
        out[:, : taken.size] += inputs[:, taken] * signs[taken]
    return out


def projected(features: Floats, width: int) -> Floats:
    """Return `features` unchanged where they are narrow enough, else a Gaussian projection."""
    count = features.shape[1]
    if count <= width:
        return features
    directions = np.random.default_rng(0).standard_normal((count, width))
    return np.asarray(features @ directions / np.sqrt(width))


def token_features(tokens: Numbers) -> Floats:
    """Return features of token sequences, `[N, D]`: which tokens, where as far as that fits.

    Short sequences of few kinds of tokens are coded one-hot position by position; others as the
    square roots of their token counts beside the first and the last token.
    """
    kinds = np.unique(tokens, return_inverse=True)[1].reshape(tokens.shape)
    count, length = tokens.shape
    vocabulary = int(kinds.max()) + 1
    if vocabulary * length <= _ONE_HOT_LIMIT:
        return np.eye(vocabulary)[kinds].reshape(count, -1)
    buckets = min(vocabulary, _BUCKETS)
    if vocabulary > _BUCKETS:
        by_frequency = np.argsort(np.argsort(-np.bincount(kinds.ravel()), kind="stable"))
        kinds = by_frequency[kinds] % _BUCKETS
    bag = np.zeros((count, buckets))
    np.add.at(bag, (np.arange(count)[:, None], kinds), 1.0)
    ends = np.eye(buckets)
    return np.concatenate([np.sqrt(bag), ends[kinds[:, 0]], ends[kinds[:, -1]]], axis=1)


def distinct(inputs: Numbers) -> Integers:
    """Return the indices of the rows that no earlier row equals.

    An example that was sampled twice would be held out and known at once.
    """
    seen: dict[bytes, int] = {}
    for index, row in enumerate(np.ascontiguousarray(inputs)):
        seen.setdefault(row.tobytes(), index)
    return np.fromiter(seen.values(), dtype=np.int64)

"""The statistics of fused attention against the softmax written out in NumPy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradfuga.stats.fused_attention import STATISTIC


def heads(*shape, seed, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
    return x.to(dtype).requires_grad_()


def attend(query, key, value=None, **settings):
    value = key if value is None else value
    return F.scaled_dot_product_attention(query * 1, key * 1, value * 1, **settings)


def oracle(query, key, *, allowed=None, scale=None):
    q, k = query.detach().double().numpy(), key.detach().double().numpy()
    scores = np.einsum("bhle,bhse->bhls", q, k) * (scale or 1 / math.sqrt(q.shape[-1]))
    allowed = np.ones(scores.shape[-2:], bool) if allowed is None else allowed
    allowed = np.broadcast_to(allowed, scores.shape)
    entropies, norms = [], []
    for row, seen in zip(
        scores.reshape(-1, scores.shape[-1]), allowed.reshape(-1, scores.shape[-1]), strict=True
    ):
        if seen.sum() < 2:
            continue
        weights = np.exp(row[seen] - row[seen].max())
        p = weights / weights.sum()
        entropies.append(-(p * np.log(p)).sum() / math.log(len(p)))
        norms.append(np.linalg.norm(np.diag(p) - np.outer(p, p)))
    return {"entropy": np.mean(entropies), "jacobian_norm": np.mean(norms)}


def close(got, truth):
    return got == pytest.approx(truth, rel=1e-9)


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("size", [0.5, 3.0])
def test_entropy_and_jacobian_come_from_query_and_key(measure, scale, size):
    query, key = heads(3, 4, 12, 8, seed=1, scale=size), heads(3, 4, 9, 8, seed=2)
    got = measure(STATISTIC, attend(query, key, scale=scale))
    assert close(got, oracle(query, key, scale=scale))


def test_a_causal_row_is_held_against_what_it_may_see(measure):
    query, key = heads(2, 3, 11, 8, seed=1), heads(2, 3, 11, 8, seed=2)
    got = measure(STATISTIC, attend(query, key, is_causal=True))
    assert close(got, oracle(query, key, allowed=np.tri(11, dtype=bool)))


def test_uniform_causal_attention_has_entropy_one(measure):
    query, key = heads(2, 3, 200, 8, seed=1, scale=0.0), heads(2, 3, 200, 8, seed=2)
    got = measure(STATISTIC, attend(query, key, is_causal=True))
    assert got["entropy"] == pytest.approx(1.0, rel=1e-12)


def test_sampled_causal_rows_keep_their_place(measure):
    query, key = heads(1, 1, 150, 4, seed=1), heads(1, 1, 150, 4, seed=2)
    got = measure(STATISTIC, attend(query, key, is_causal=True))
    rows = np.arange(0, 150, 3)  # at most 64 of 150
    truth = oracle(query[:, :, ::3], key, allowed=np.tri(150, dtype=bool)[rows])
    assert close(got, truth)


@pytest.mark.parametrize("shape", [(10, 10), (3, 1, 10, 10), (3, 1, 1, 10)])
def test_a_mask_of_any_shape_is_respected(measure, shape):
    query, key = heads(3, 2, 10, 8, seed=1), heads(3, 2, 10, 8, seed=2)
    allowed = np.random.default_rng(0).random(shape) < 0.6
    allowed[..., 0] = True
    mask = torch.from_numpy(allowed)
    got = measure(STATISTIC, attend(query, key, attn_mask=mask))
    assert close(got, oracle(query, key, allowed=allowed))


def test_a_float_mask_is_added_to_the_scores(measure):
    query, key = heads(1, 1, 6, 4, seed=1, scale=0.0), heads(1, 1, 6, 4, seed=2)
    bias = torch.zeros(6, 6, dtype=torch.float64)
    bias[:, 0] = 50.0
    got = measure(STATISTIC, attend(query, key, attn_mask=bias))
    assert got["entropy"] == pytest.approx(0.0, abs=1e-12)


def test_many_heads_and_examples_are_sampled_without_bias(measure):
    query, key = heads(16, 8, 100, 16, seed=1, scale=2.0), heads(16, 8, 100, 16, seed=2)
    got = measure(STATISTIC, attend(query, key))
    truth = oracle(query, key)
    assert got["entropy"] == pytest.approx(truth["entropy"], abs=0.02)
    assert got["jacobian_norm"] == pytest.approx(truth["jacobian_norm"], rel=0.1)


def test_grouped_queries_meet_their_own_key(measure):
    query, key = heads(2, 12, 7, 8, seed=1), heads(2, 6, 7, 8, seed=2)
    output = F.scaled_dot_product_attention(query * 1, key * 1, key * 1, enable_gqa=True)
    names = {type(output.grad_fn).__name__}
    if not any(name.startswith("ScaledDotProduct") for name in names):
        pytest.skip("this build repeats the keys instead of grouping the queries")
    got = measure(STATISTIC, output)
    # heads 0, 4 and 8 of the queries meet keys 0, 2 and 4
    assert close(got, oracle(query[:, ::4], key[:, ::2]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_measured_all_the_same(measure, dtype):
    query = heads(2, 2, 8, 8, seed=1, dtype=dtype)
    key = heads(2, 2, 8, 8, seed=2, dtype=dtype)
    got = measure(STATISTIC, attend(query, key))
    assert got == pytest.approx(oracle(query, key), rel=1e-5)


def test_nan_is_handed_on(measure):
    query, key = heads(1, 1, 4, 4, seed=1), heads(1, 1, 4, 4, seed=2)
    with torch.no_grad():
        query[0, 0, 0, 0] = float("nan")
    assert math.isnan(measure(STATISTIC, attend(query, key))["entropy"])

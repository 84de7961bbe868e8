import numpy as np
import pytest

from gradfuga.analysis.features import WIDEST, distinct, projected, standardized, token_features


def test_columns_have_mean_zero_and_variance_one_whatever_their_units():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((400, 3)) * [1e-9, 1.0, 1e6] + [5.0, 0.0, -3e6]
    z = standardized(x)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose(z[:, 1:].std(axis=0), 1.0, rtol=0.02)


def test_one_absurd_value_does_not_flatten_its_column():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((500, 2))
    z = standardized(np.where(np.arange(1000).reshape(500, 2) == 0, 1e6, x))
    assert abs(np.corrcoef(z[1:, 0], x[1:, 0])[0, 1]) > 0.999
    assert z[1:, 0].std() > 0.8


def test_a_column_that_is_mostly_zero_is_not_lost():
    x = np.zeros((1000, 1))
    x[::200] = 3.0
    z = standardized(x)[:, 0]
    assert z[::200].min() > 10 * z[1]
    assert z.max() <= 4.0


@pytest.mark.parametrize("value", [0.0, 7.25, 1e300])
def test_columns_that_do_not_vary_are_left_out(value):
    x = np.column_stack([np.full(50, value), np.arange(50.0)])
    assert standardized(x).shape == (50, 1)
    assert standardized(x[:, :1]).shape == (50, 0)


def test_huge_numbers_do_not_overflow():
    x = np.random.default_rng(0).standard_normal((50, 2)) * 1e300
    assert np.isfinite(standardized(x)).all()


def test_wide_inputs_are_folded_so_that_inner_products_stay():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((40, 3 * WIDEST))
    x[1] = 0.6 * x[0] + 0.8 * x[1]
    z = standardized(x)
    assert z.shape == (40, WIDEST)
    # a cosine from 2048 random signs strays by 1/sqrt(2048); standardising 40 rows adds as much
    assert z[0] @ z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1]) == pytest.approx(0.6, abs=0.1)


def test_a_projection_keeps_lengths_and_narrow_features():
    x = np.random.default_rng(0).standard_normal((20, 2000))
    assert projected(x, 2000) is x
    ratio = (projected(x, 500) ** 2).sum(axis=1) / (x**2).sum(axis=1)
    np.testing.assert_allclose(ratio, 1.0, atol=4 * np.sqrt(2 / 500))


def test_short_sequences_are_coded_position_by_position():
    features = token_features(np.array([[5, 9], [9, 5]]))
    assert features.tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]


def test_long_sequences_become_counts_and_ends():
    tokens = np.random.default_rng(0).integers(0, 40_000, (20, 300))
    features = token_features(tokens)
    assert features.shape == (20, 3 * 512)
    np.testing.assert_allclose((features[:, :512] ** 2).sum(axis=1), 300)
    np.testing.assert_allclose(features[:, 512:].sum(axis=1), 2)


def test_equal_rows_are_kept_once():
    assert distinct(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])).tolist() == [0, 1]

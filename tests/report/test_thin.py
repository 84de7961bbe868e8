"""Thinning keeps the extremes and the size bound."""

from __future__ import annotations

import numpy as np

from gradfuga.report._thin import envelope, grid, spread_out


def test_a_short_curve_is_kept_as_it_is():
    curve = envelope(np.arange(5), np.array([1.0, 2.0, np.nan, 4.0, np.inf]))
    assert curve.x.tolist() == [0.0, 1.0, 3.0]
    assert curve.mean.tolist() == curve.low.tolist() == curve.high.tolist() == [1.0, 2.0, 4.0]


def test_a_long_curve_keeps_its_extremes_within_the_bound():
    rng = np.random.default_rng(3)
    y = rng.standard_normal(100_000)
    y[[17, 99_999]] = 50.0, -60.0
    curve = envelope(np.arange(len(y)), y)
    assert len(curve.x) == 2000
    assert curve.high.max() == 50.0
    assert curve.low.min() == -60.0
    # 100,000 points in 2,000 stretches of exactly 50
    np.testing.assert_allclose(curve.mean, y.reshape(2000, 50).mean(axis=1), atol=1e-12)
    assert (np.diff(curve.x) > 0).all()


def test_a_large_grid_keeps_the_sickest_cell_of_each_block():
    rng = np.random.default_rng(5)
    values = rng.uniform(-1, 1, (1001, 701))
    values[500, 333] = -9.0
    values[800, 10] = 8.0
    thin = grid(values)
    assert thin.shape == (400, 300)
    assert thin.min() == -9.0
    assert thin.max() == 8.0


def test_unread_cells_stay_unread_only_where_nothing_was_read():
    values = np.full((4, 2), np.nan)
    values[1, 0] = -0.5
    values[3, 1] = -np.inf
    thin = grid(values, most_rows=2)
    assert thin[0, 0] == -0.5
    assert np.isnan(thin[0, 1])
    assert thin[1, 1] == -np.inf
    assert np.isnan(thin[1, 0])


def test_evenly_spread_indices_hold_both_ends():
    assert spread_out(3, 5) == [0, 1, 2]
    picked = spread_out(1000, 9)
    assert (picked[0], picked[-1], len(picked)) == (0, 999, 9)

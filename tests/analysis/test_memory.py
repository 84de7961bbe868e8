"""Horizon, rate and profile from rows; what makes a short memory an illness."""

import math

import numpy as np
import pytest

from gradfuga._types import Kind
from gradfuga.analysis.memory import (
    ends_are_read,
    horizon_of,
    late_profiles,
    longest_reach,
    rate_of,
)
from gradfuga.analysis.memory_pairs import SequenceBatch, draw_pairs
from gradfuga.analysis.window_reference import window_reference
from gradfuga.readings import Reading, Readings


def curve(rate, *, steps=60, path="rnn.weight_hh_l0", step=0, **others):
    lags = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, steps - 1)
    rows = [
        Reading(step, path, Kind.ACTIVATION_GRAD, f"lag_norm.{k}", 0.3 * rate ** (k - 1))
        for k in lags
    ]
    rows.append(Reading(step, path, Kind.ACTIVATION, "time_steps", float(steps)))
    rows += [Reading(step, path, Kind.ACTIVATION, name, value) for name, value in others.items()]
    return rows


@pytest.mark.parametrize("rate", [0.4, 0.577, 0.87, 0.99, 1.0, 1.2])
def test_rate_and_horizon_of_an_exponential_are_exact(rate):
    (found,) = late_profiles(Readings(curve(rate)))
    assert found.rate == pytest.approx(rate, rel=1e-12)
    exact = 1.0 + math.log(1e-3) / math.log(rate) if rate < 1.0 else math.inf
    inside = exact <= 59
    assert found.horizon == (math.ceil(exact) if inside else math.inf)


def test_rate_and_horizon_do_not_change_with_the_loss():
    lags, norms = (1, 2, 4, 8, 16), (1.0, 0.3, 0.05, 1e-3, 1e-6)
    scaled = [1e-9 * each for each in norms]
    assert rate_of(lags, scaled) == pytest.approx(rate_of(lags, norms), rel=1e-12)
    assert horizon_of(lags, scaled) == horizon_of(lags, norms)


def test_a_gradient_that_is_exactly_zero_ends_the_horizon():
    assert horizon_of((1, 2, 4), (1.0, 0.0, 0.0)) == 2.0
    assert math.isnan(horizon_of((1, 2), (math.nan, math.nan)))
    assert math.isnan(rate_of((1, 2, 3), (1.0, 0.0, 0.0)))


def test_the_farthest_recurrence_and_the_nearest_cut_say_how_far_the_gradient_reaches():
    both = Readings([*curve(0.5), *curve(0.8, path="rnn.weight_hh_l1")])
    assert longest_reach(both) == math.ceil(1.0 + math.log(1e-3) / math.log(0.8))
    assert longest_reach(Readings(curve(0.99, time_cut=20.0))) == 20.0
    assert math.isnan(longest_reach(Readings()))


def test_means_and_backward_layers_have_no_bound_by_a_horizon():
    assert ends_are_read(Readings(curve(0.5, read_steps=1.0)), per_step=False)
    assert not ends_are_read(Readings(curve(0.5, read_steps=60.0)), per_step=False)
    assert ends_are_read(Readings(curve(0.5, read_steps=60.0)), per_step=True)
    assert not ends_are_read(Readings(curve(0.5, time_backward=1.0)), per_step=False)


def reference_of(inputs, targets, *, family, horizon, losses=None, per_step=False):
    batch = SequenceBatch(inputs, targets, losses)
    pairs = draw_pairs([batch], family=family, horizon=horizon, per_step=per_step)
    return window_reference(pairs, horizon=horizon)


def sequences(count=400, steps=40, kinds=4, seed=0):
    return np.random.default_rng(seed).integers(0, kinds, (count, steps))


def test_a_far_token_is_found_with_its_lag_and_no_short_window_sees_it():
    x = sequences()
    found = reference_of(x, x[:, 3], family="classification", horizon=12)
    assert found.short < 0.02
    assert found.long > 0.9
    assert found.lag == 36


def test_a_near_token_needs_no_long_memory():
    x = sequences()
    found = reference_of(x, x[:, -2], family="classification", horizon=12)
    assert found.short > 0.9
    assert found.long == found.short
    assert found.memoryless < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_random_labels_need_no_long_memory(seed):
    labels = np.random.default_rng(100 + seed).integers(0, 4, 400)
    found = reference_of(sequences(seed=seed), labels, family="classification", horizon=12)
    assert found.long - found.short < 0.05


def test_the_adding_problem_needs_all_steps():
    generator = np.random.default_rng(0)
    count, steps = 512, 60
    values, marks = generator.uniform(0, 1, (count, steps)), np.zeros((count, steps))
    rows = np.arange(count)
    marks[rows, generator.integers(0, 30, count)] = 1.0
    marks[rows, generator.integers(30, 60, count)] = 1.0
    x = np.stack([values, marks], axis=2)
    y = (values * marks).sum(axis=1, keepdims=True)
    found = reference_of(x, y, family="regression", horizon=12)
    assert found.long > 0.9
    assert found.short < 0.4


@pytest.mark.parametrize("horizon", [40, 100])
def test_a_memory_of_the_whole_sequence_leaves_nothing_to_compare(horizon):
    x = sequences()
    assert math.isnan(reference_of(x, x[:, 3], family="classification", horizon=horizon).long)


def test_few_or_broken_sequences_say_nothing():
    x = sequences(50)
    assert math.isnan(reference_of(x, x[:, 3], family="classification", horizon=5).long)
    broken = np.random.default_rng(0).standard_normal((200, 20, 2))
    broken[3, 4] = np.nan
    assert math.isnan(
        reference_of(broken, x[:1].repeat(200, 0)[:, 0], family="binary", horizon=5).long
    )


def echo(count=120, steps=40, lag=30, kinds=8, seed=0):
    """Tokens, and at every step the one `lag` steps before; a blank where there is none."""
    x = sequences(count, steps, kinds, seed)
    y = np.full_like(x, kinds)
    y[:, lag:] = x[:, : steps - lag]
    return x, y


@pytest.mark.parametrize(("knows", "way"), [(False, 0.0), (True, 1.0)])
def test_steps_that_need_no_memory_do_not_hide_those_that_do(knows, way):
    x, y = echo()
    # the blanks are learned; at the last ten steps all eight tokens are as likely, or it is known
    losses = np.where(y == 8, 0.01, 0.05 if knows else math.log(8))
    found = reference_of(x, y, family="classification", horizon=12, losses=losses, per_step=True)
    assert found.long - found.short > 0.5
    assert found.lag == 30
    assert found.way == pytest.approx(way, abs=0.1)


def test_what_the_network_has_gained_is_open_where_no_memory_is_worth_anything():
    x, y = echo(lag=2)
    losses = np.full(y.shape, 0.05)
    found = reference_of(x, y, family="classification", horizon=12, losses=losses, per_step=True)
    assert math.isnan(found.way)
    assert found.long == found.short


def test_steps_of_one_sequence_do_not_tell_of_each_other():
    generator = np.random.default_rng(0)
    phase, rate = generator.uniform(0, 6, (60, 1)), generator.uniform(0.1, 0.5, (60, 1))
    waves = np.sin(phase + rate * np.arange(60))[:, :, None]
    labels = np.repeat(generator.integers(0, 2, (60, 1)), 60, axis=1)  # of sequences, at random
    found = reference_of(waves, labels, family="classification", horizon=5, per_step=True)
    assert found.long < 0.05


def test_ignored_steps_are_never_drawn_and_what_is_before_a_sequence_is_a_token_of_its_own():
    x, y = echo(count=40, steps=12, lag=3)
    y[:, ::2] = -100
    batch = SequenceBatch(x, y, None)
    pairs = draw_pairs([batch], family="classification", horizon=4, per_step=True)
    assert (pairs.targets >= 0).all()
    assert set(pairs.position.tolist()) == {7, 9, 11}
    assert (pairs.inputs[pairs.position == 7][:, :4] == -1).all()
    assert (pairs.inputs[:, -8:] >= 0).all()
    rows = pairs.sequence[pairs.position == 11]
    np.testing.assert_array_equal(pairs.inputs[pairs.position == 11], x[rows])


def test_targets_of_the_last_steps_end_where_the_inputs_do():
    x, y = echo(count=40, steps=20, lag=10)
    batch = SequenceBatch(x, y[:, -6:], None)
    pairs = draw_pairs([batch], family="classification", horizon=4, per_step=True)
    np.testing.assert_array_equal(pairs.targets, pairs.inputs[:, -11])


def test_a_gradient_that_is_infinite_near_the_loss_has_no_horizon_and_one_later_ends_there():
    assert math.isnan(horizon_of((1, 2, 4), (math.inf, 1e3, 1.0)))
    assert horizon_of((1, 2, 4), (1.0, math.inf, 0.0)) == 4.0

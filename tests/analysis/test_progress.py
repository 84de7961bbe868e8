"""Progress: how far the loss came between the best constant and zero, beyond noise."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradfuga._types import Kind
from gradfuga.analysis.progress import mann_kendall, measure_progress
from gradfuga.readings import Reading, Readings, RunRecord

BASELINE = 1.5


def training(losses, *, baseline=BASELINE, floor=0.0, scale=1.0, reference=None, gains=None):
    """Readings of a run with these losses, its baseline sampled at every tenth step."""
    rows = [Reading(k, "loss", Kind.LOSS, "value", scale * x) for k, x in enumerate(losses)]
    for step in range(0, len(losses), 10):
        if baseline is not None:
            whole = scale * (baseline + floor)
            rows.append(Reading(step, "loss", Kind.LOSS, "baseline", whole))
            rows.append(Reading(step, "loss", Kind.LOSS, "floor", scale * floor))
    if reference is not None:
        rows.append(Reading(len(losses) - 1, "loss", Kind.LOSS, "reference", reference))
    for step, gain in (gains or {}).items():
        rows.append(Reading(step, "loss", Kind.LOSS, "gain", scale * gain))
    return Readings(rows, record=RunRecord(steps=len(losses)))


def noisy(level, steps=200, noise=0.05, seed=0):
    return level + noise * np.random.default_rng(seed).standard_normal(steps)


def falling(start=BASELINE, end=0.0, steps=200, time=30.0, noise=0.02, seed=0):
    curve = end + (start - end) * np.exp(-np.arange(steps) / time)
    return np.abs(curve + noise * np.random.default_rng(seed).standard_normal(steps))


def test_a_loss_at_the_best_constant_is_no_progress():
    progress = measure_progress(training(noisy(BASELINE)))
    assert progress.known
    assert progress.u == pytest.approx(0.0, abs=4 * progress.error)
    assert not progress.informed
    assert not progress.falling


def test_a_loss_of_zero_is_all_progress():
    progress = measure_progress(training(falling(noise=0.0, steps=600)))
    assert progress.u == pytest.approx(1.0, abs=1e-5)
    assert progress.informed
    assert not progress.poor
    assert not progress.open


def test_u_is_one_minus_the_share_of_the_loss_that_is_left():
    losses = noisy(0.6, noise=0.0)
    assert measure_progress(training(losses)).u == pytest.approx(1 - 0.6 / BASELINE)
    # a part of the loss that no prediction can change is left out on both sides
    with_floor = measure_progress(training(losses + 4.0, floor=4.0))
    assert with_floor.u == pytest.approx(1 - 0.6 / BASELINE)
    assert with_floor.baseline == pytest.approx(BASELINE + 4.0)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6, 1e12])
def test_the_scale_of_the_loss_is_nothing(scale):
    losses = falling(end=0.4)
    plain, scaled = (
        measure_progress(training(losses)),
        measure_progress(training(losses, scale=scale)),
    )
    for name in ("u", "error", "trend"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-9)
    same = {"baseline": 0.0, "first": 0.0, "last": 0.0, "u": 0.0, "error": 0.0, "trend": 0.0,
            "reference": 0.0, "reference_error": 0.0, "gain": 0.0, "gain_error": 0.0}  # fmt: skip
    assert scaled.most == pytest.approx(plain.most, rel=1e-9)
    same["most"] = 0.0
    assert replace(scaled, **same) == replace(plain, **same)


def test_noise_alone_is_hardly_ever_progress():
    wrong = sum(
        measure_progress(training(noisy(BASELINE, noise=0.5, seed=seed))).informed
        for seed in range(200)
    )
    assert wrong <= 4


def test_small_progress_is_told_from_noise_that_is_smaller_still():
    for seed in range(20):
        assert measure_progress(training(noisy(0.85 * BASELINE, noise=0.1, seed=seed))).informed
        assert not measure_progress(training(noisy(0.97 * BASELINE, noise=0.1, seed=seed))).informed


def test_the_error_of_u_covers_its_scatter():
    seen = [measure_progress(training(noisy(1.0, noise=0.3, seed=s))) for s in range(200)]
    scatter = float(np.std([each.u for each in seen]))
    assert scatter <= float(np.median([each.error for each in seen])) <= 2.0 * scatter


def paired(gains, *, start=100, **changed):
    """Progress of a run at its baseline, noisy, with these gains from step `start` of 200 on."""
    by_step = dict(enumerate(gains, start=start))
    return measure_progress(training(noisy(BASELINE, noise=0.3), gains=by_step, **changed))


def test_pairs_tell_a_weak_signal_from_none_where_the_losses_cannot():
    rng = np.random.default_rng(0)
    found = paired(BASELINE * (0.02 + 0.03 * rng.standard_normal(60)))
    assert not found.informed
    assert found.error > 0.03  # of the losses alone
    assert found.gain == pytest.approx(0.02, abs=3 * found.gain_error)
    assert found.gain_error == pytest.approx(0.03 / math.sqrt(60), rel=0.3)
    assert found.weak
    assert not found.nothing
    clear = paired(BASELINE * (0.1 + 0.03 * rng.standard_normal(60)))
    assert clear.informed  # though the losses alone would not tell
    assert clear.u - 2.0 * clear.error < 0.05
    assert not clear.poor
    none = paired(BASELINE * 0.03 * rng.standard_normal(60))
    assert not none.weak


@pytest.mark.parametrize("tail", [2.0, 3.0, 30.0])
def test_gains_around_zero_are_not_taken_for_a_signal(tail):
    """At most one in a thousand, however heavy the tails of symmetric noise (Efron 1969)."""
    rng = np.random.default_rng(1)
    taken = sum(paired(rng.standard_t(tail, 40)).weak for _ in range(1000))
    assert taken <= 3


def test_thirteen_pairs_cannot_be_beyond_chance_and_fourteen_can():
    assert not paired([0.05] * 13).weak
    assert paired([0.05] * 14).weak


def test_pairs_of_the_first_half_do_not_count():
    early = paired([0.5] * 60, start=80)
    assert early.gain == pytest.approx(0.5 / BASELINE)
    assert early.gain_error == 0.0
    nothing = paired([*[0.5] * 60, *[0.0] * 40], start=40)
    assert nothing.gain == 0.0
    assert not nothing.weak


def test_nothing_is_known_to_be_learned_where_the_noise_leaves_no_room():
    assert paired([-0.001, 0.001] * 20).nothing
    assert not paired([-0.5, 0.5] * 20).nothing  # a gain of .1 may hide in this
    # a reference that learns the same examples leaves less room
    lagging = paired([-0.5, 0.5] * 20, reference=0.9)
    assert lagging.lags
    assert lagging.nothing
    assert not paired([-0.5, 0.5] * 20, reference=0.09).lags  # next to nothing there


def test_the_most_that_may_have_been_learned_covers_what_was():
    """One-sided, p = .023 at the normal law; few pairs are given more room."""
    rng = np.random.default_rng(2)
    for count in (4, 7, 30):
        missed = sum(
            paired(BASELINE * (0.02 + 0.1 * rng.standard_normal(count))).most < 0.02
            for _ in range(400)
        )
        assert missed <= 400 * 0.04


def test_a_loss_that_still_falls_is_seen_and_one_that_does_not_is_not():
    assert measure_progress(training(falling(steps=60, time=40.0))).falling
    flat = [measure_progress(training(noisy(1.0, seed=seed))).falling for seed in range(100)]
    assert sum(flat) <= 4  # p = .006 one-sided


def test_the_first_loss_that_is_not_finite_is_noted_and_the_others_judged():
    losses = falling()
    losses[37:] = [math.nan] * len(losses[37:])
    progress = measure_progress(training(losses))
    assert progress.nonfinite_step == 37
    assert math.isfinite(progress.u)
    nothing = measure_progress(training([math.nan] * 5))
    assert nothing.nonfinite_step == 0
    assert nothing.first is None
    assert not nothing.known
    assert not nothing.informed


def test_losses_that_are_not_finite_and_leave_no_trace_break_nothing():
    losses = falling()
    losses[37], losses[90] = math.nan, math.inf
    progress = measure_progress(training(losses))
    assert progress.nonfinite_step is None
    assert progress.informed
    half = falling()
    half[:-1:2] = [math.nan] * len(half[:-1:2])
    assert measure_progress(training(half)).nonfinite_step is None  # more than half are finite
    half[1], half[3] = math.nan, math.nan
    assert measure_progress(training(half)).nonfinite_step == 0


def test_without_targets_nothing_is_known():
    progress = measure_progress(training(falling(), baseline=None))
    assert not progress.known
    assert math.isnan(progress.u)
    assert not progress.informed


def test_constant_targets_permit_no_statement():
    assert not measure_progress(training(falling(), baseline=0.0)).known


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_a_very_short_run_is_measured_without_a_crash(steps):
    progress = measure_progress(training(falling(steps=steps) if steps else []))
    assert progress.known is (steps > 0)
    assert progress.first is None or progress.first >= 0.0


def test_half_of_the_way_is_found_on_the_curve():
    losses = falling(time=40.0, noise=0.0, steps=400)
    progress = measure_progress(training(losses))
    middle = 0.5 * (BASELINE + progress.last)
    expected = int(np.flatnonzero(losses <= middle)[0])
    assert abs(progress.half_step - expected) <= 400 // 50  # the width of the smoothing


@pytest.mark.parametrize(
    ("level", "reference", "poor", "is_open"),
    [
        (0.9, 0.4, False, False),  # u = .4, as good as the reference
        (0.9, 0.95, True, False),  # u = .4, less than half of what is known to be there
        (0.9, math.nan, False, True),  # u = .4, and nobody knows
        (0.3, math.nan, False, False),  # u = .8
        (1.2, 0.05, False, True),  # the reference found nothing: it says nothing
    ],
)
def test_progress_is_held_against_what_the_task_is_known_to_permit(level, reference, poor, is_open):
    given = None if math.isnan(reference) else reference
    progress = measure_progress(training(noisy(level, noise=0.01), reference=given))
    assert progress.informed
    assert (progress.poor, progress.open) == (poor, is_open)


@given(st.lists(st.integers(-5, 5), min_size=4, max_size=30))
def test_mann_kendall_is_that_of_counting_pairs(drawn):
    n = len(drawn)
    score = sum((b > a) - (b < a) for a, b in itertools.combinations(drawn, 2))
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    expected = (score - math.copysign(1, score)) / spread if score else 0.0
    assert mann_kendall(np.array(drawn, dtype=float)) == pytest.approx(expected)
    backward = np.array(drawn[::-1], dtype=float)
    assert mann_kendall(backward) == pytest.approx(-expected)


def test_targets_that_move_say_nothing_of_a_loss_that_does_not_fall():
    # bootstrapped values: those of a network, which it is taught with
    chance = np.random.default_rng(0)
    losses = noisy(0.02, noise=0.002)
    fading = np.geomspace(1.5, 0.01, losses.size) * chance.uniform(0.7, 1.4, losses.size)
    for constant, moving in ((fading, True), (fading[::-1], True), (chance.permutation(fading), 0)):
        gains = dict(enumerate(constant - losses))
        progress = measure_progress(training(losses, baseline=0.02, gains=gains))
        assert progress.moving == moving
        assert progress.known == (not moving)
        assert not progress.nothing


def test_targets_that_move_take_no_progress_away():
    losses = falling(end=0.1)
    gains = dict(enumerate(np.geomspace(1.5, 0.3, losses.size) - losses))
    progress = measure_progress(training(losses, baseline=1.0, gains=gains))
    assert progress.moving
    assert progress.informed


def test_a_loss_that_blows_up_does_not_make_its_targets_move():
    losses = np.geomspace(1.0, 1e12, 200)
    gains = np.float32(BASELINE) - losses.astype(np.float32)
    progress = measure_progress(training(losses, gains=dict(enumerate(gains.astype(float)))))
    assert not progress.moving
    assert progress.known

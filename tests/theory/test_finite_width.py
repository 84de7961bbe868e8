import math

import pytest

from gradfuga.theory.finite_width import (
    SMOOTH_SAFETY,
    TRAINABLE_DECADES,
    exploding_threshold,
    inverse_width_sum,
    kappa,
    reach_law,
    vanishing_threshold,
)


def test_kappa_of_relu_linear_and_critical_tanh():
    assert kappa("relu", 3.7) == pytest.approx(5.0)
    assert kappa("identity") == pytest.approx(2.0)
    assert kappa("tanh", 0.5704) == pytest.approx(3.03, abs=0.01)  # at (1.76, .05)


@pytest.mark.parametrize(
    ("kappa_b", "width", "depth", "mean", "variance"),
    [(5.0, 64, 32, -1.25, 2.5), (5.0, 32, 32, -2.5, 5.0), (2.0, 32, 32, -1.0, 2.0)],
)
def test_the_law_in_decades_is_the_law_of_the_squared_norm_in_nats(
    kappa_b, width, depth, mean, variance
):
    law = reach_law(kappa_b, inverse_width_sum([width] * depth))
    assert law.mean * 2 * math.log(10) == pytest.approx(mean)
    assert (law.sd * 2 * math.log(10)) ** 2 == pytest.approx(variance)


def test_smooth_activations_get_half_as_much_variance_again():
    plain, safe = reach_law(3.0, 0.4), reach_law(3.0, 0.4, safety=SMOOTH_SAFETY)
    assert (safe.sd / plain.sd) ** 2 == pytest.approx(1.5)
    assert safe.mean == plain.mean


def test_thresholds_start_at_six_depth_scales_and_widen_with_narrow_networks():
    wide = reach_law(5.0, inverse_width_sum([1024] * 10))
    assert vanishing_threshold(wide) == -TRAINABLE_DECADES == pytest.approx(-1.3029, abs=1e-4)
    assert exploding_threshold(wide) == TRAINABLE_DECADES
    narrow = reach_law(5.0, inverse_width_sum([16] * 20))  # beta 1.25: mean -.679, sd .543
    assert vanishing_threshold(narrow) == pytest.approx(-(0.679 + 3 * 0.543), abs=2e-3)
    assert exploding_threshold(narrow) == pytest.approx(TRAINABLE_DECADES)
    # the exploding side can widen only with the safety factor: without it 3 sd - |mean| < 0.98
    smooth = reach_law(2.0, inverse_width_sum([8] * 54), safety=SMOOTH_SAFETY)
    assert exploding_threshold(smooth) == pytest.approx(smooth.mean + 3 * smooth.sd)
    assert exploding_threshold(smooth) > 1.1 * TRAINABLE_DECADES

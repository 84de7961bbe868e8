"""What a network that learns may show without being accused, two oddities at a time."""

import math
from itertools import combinations

import numpy as np
import pytest

from analysis.changes import partly_frozen, softmax_too_many
from gradfuga._types import Kind, Verdict
from gradfuga.analysis.judgement import judge
from rules.cases import BASELINE, LEARNING, STANDING, Training

LEARNER = Training()
LITTLE = tuple(float(each) for each in np.geomspace(BASELINE, 0.8 * BASELINE, 100))  # u < .25

DECOYS = {
    "large gradients": lambda t: t.gains(linear=4.0, activation=t.activation_gain),
    "small gradients": lambda t: t.gains(linear=t.linear_gain, activation=0.2),
    "tiny weight gradients": lambda t: t.everywhere(Kind.WEIGHT_GRAD, "norm", 1e-12),
    "tiny updates": lambda t: t.everywhere(Kind.UPDATE, "norm", 1e-4),
    "clipped": lambda t: t.reading("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", 1e-4),
    "a step that the scaler skips": lambda t: t.reading(
        "head.weight", Kind.WEIGHT_GRAD, "norm", {0: math.inf, 4: 0.5, 99: 0.5}
    ),
    "frozen backbone": lambda t: partly_frozen(t, 1),
    "softmax on purpose": softmax_too_many,
    "narrow ReLU": lambda t: t.reading("act.1", Kind.ACTIVATION, "dead_share", 0.95),
    "decay": lambda t: t.with_settings(weight_decay=0.5),
    "plateau, then escape": lambda t: t.with_losses([*STANDING[:60], *LEARNING[::3][:33]]),
    "memorised": lambda t: t.with_reference(0.01),
    "noisy labels, like the reference": lambda t: t.with_losses(LITTLE).with_reference(0.2),
    "no targets seen": lambda t: t.without_baseline(),
}


@pytest.mark.parametrize(("one", "other"), list(combinations(DECOYS, 2)))
def test_a_network_that_learns_is_healthy_whatever_else_it_shows(one, other):
    case = DECOYS[other](DECOYS[one](LEARNER)).case
    assert judge(case).verdict is Verdict.HEALTHY

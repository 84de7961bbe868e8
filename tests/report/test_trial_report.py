"""A trial is told alike on the terminal, on the page and in the document."""

from __future__ import annotations

import math

import pytest

from gradfuga._types import DepthProfile
from gradfuga.experiment import Arm, ArmKind, Comparison, Treatment, Trial, TrialRun
from gradfuga.report._trial_charts import loss_curves, reach_before_and_after
from gradfuga.report._trial_document import trial_document
from gradfuga.report.html import page
from gradfuga.report.trial_text import render_trial

STEPS = tuple(range(0, 100, 10))
HOSTILE = "<script>alert(1)</script>"
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x = torch.sigmoid(x)\n+x = torch.relu(x)\n"


def arm(title, curve, *, seeds=2, kind=ArmKind.TREATMENT, reach=(0.0, -0.2)):
    depth = DepthProfile(("head", "stem"), reach, (0.0, 0.0))
    runs = tuple(
        TrialRun(
            seed, len(curve), STEPS, tuple(loss * (1 + 0.01 * seed) for loss in curve),
            score=0.5, known=True, loss=curve[-1], depth=depth, parameters=10,
        )
        for seed in range(seeds)
    )  # fmt: skip
    return Arm(Treatment(title, kind=kind), runs)


@pytest.fixture
def trial(make_sick):
    untreated = arm("untreated", [2.3] * 10, kind=ArmKind.UNTREATED, reach=(0.0, -8.0))
    treated = arm(HOSTILE, [2.3 * 0.7**k for k in range(10)])
    diverged = arm("diverges", [2.3 * 100.0**k for k in range(10)], seeds=1)
    return Trial(
        make_sick(), proven=True, because="It learns.", budget="5 minutes",
        untreated=untreated, treated=treated, tried=(treated, diverged),
        comparison=Comparison(0.9, (0.8, 1.0), 0.25, 2), diff=DIFF, diff_proven=True,
        diff_because="The patched source was run.",
    )  # fmt: skip


def test_a_treatment_that_diverges_leaves_the_picture_and_only_that(trial):
    shown = loss_curves(trial).y_range
    lowest = 2.3 * 0.7**9
    assert shown.start < lowest
    assert 2.3 * 1.01 < shown.end < 3.0


def test_losses_that_are_never_finite_have_no_picture(trial, make_sick):
    untreated = arm("untreated", [math.nan] * 10, kind=ArmKind.UNTREATED)
    only = Trial(make_sick(), proven=False, because="", budget="", untreated=untreated)
    assert loss_curves(only) is None
    assert HOSTILE not in page([(make_sick(), None)], only)


def test_the_reach_is_drawn_before_and_after(trial):
    plot = reach_before_and_after(trial)
    data = next(r.data_source.data for r in plot.renderers if "before" in r.data_source.data)
    assert data["before"].tolist() == [0.0, -8.0]
    assert data["after"].tolist() == [0.0, -0.2]


def test_the_page_shows_the_diff_and_escapes_what_is_the_users(trial):
    text = page([(trial.diagnosis, None)], trial)
    assert HOSTILE not in text
    assert "<div class='new'><code>+x = torch.relu(x)" in text
    assert "<div class='old'><code>-x = torch.sigmoid(x)" in text


@pytest.mark.parametrize("width", [60, 100])
def test_the_terminal_shows_every_arm_the_evidence_and_the_diff(trial, width):
    text = render_trial(trial, width=width, color=False)
    assert "PROVEN" in text
    assert "diverges" in text
    assert "+0.800 to +1.000" in " ".join(text.split())
    assert DIFF.splitlines() == [line for line in text.splitlines() if line in DIFF.splitlines()]
    table = [line for line in text.splitlines() if line.startswith(("|", "+--"))]
    assert table
    assert max(map(len, table)) <= width


def test_the_document_holds_every_arm_and_no_number_that_json_lacks(trial):
    said = trial_document(trial)
    assert [each["title"] for each in said["tried"]] == [HOSTILE, "diverges"]
    assert said["interval"] == [0.8, 1.0]
    assert said["diff"] == DIFF
    assert said["untreated"]["reach"]["reach"] == [0.0, -8.0]

"""What makes a patch proven, on runs that are made up."""

import math
from concurrent.futures import Future

import pytest

from gradfuga._diagnose import diagnose
from gradfuga._edits import ClipGradient
from gradfuga._trial.bench import Bench
from gradfuga._trial.patching import SourcePatch
from gradfuga._trial.reproduction import reproduce, unrun
from gradfuga._trial.request import Request
from gradfuga._trial.scratch import Place
from gradfuga._trial.workers import AbstractPool
from gradfuga.experiment import Arm, PatchedFile, Treatment, Trial, TrialRun
from gradfuga.report.trial_text import render_trial

SEEDS = range(3)


def runs(*scores, start=()):
    return tuple(
        TrialRun(seed, steps=9, score=score, known=True, loss=1.0, start=start)
        for seed, score in enumerate(scores)
    )


UNTREATED = Arm(Treatment(""), runs(0.0, 0.01, 0.0))
TREATED = Arm(Treatment("swap"), runs(0.8, 0.82, 0.81, start=(1.0, 0.5)))


class Scripted(AbstractPool):
    """A pool that knows the result of each patched text."""

    jobs = 1

    def __init__(self, results):
        self.results = results
        self.asked = []

    def submit(self, request):
        [(_name, text)] = request.treatment.sources
        self.asked.append((text, request.seed))
        future = Future()
        future.set_result(self.results[text][request.seed])
        return future

    def close(self):
        pass


@pytest.fixture
def reproduced(tmp_path):
    (tmp_path / "train.py").touch()
    place = Place.of("train.py", tmp_path)

    def on(*texts, results, deadline=None):
        ways = [
            SourcePatch(
                (PatchedFile(str(tmp_path / "train.py"), "", text),) if text else (),
                text,
                str(tmp_path),
                () if text else ((ClipGradient("agc", 1.0), "no place"),),
            )
            for text in texts
        ]
        pool = Scripted(results)
        like = Request(place, (), None, 0, 9, None, 0.0)
        bench = Bench(pool, like, deadline=deadline, tell=lambda _text: None)
        found = reproduce(
            bench, ways, place, untreated=UNTREATED, treated=TREATED, seeds=SEEDS, steps=9
        )
        return found, pool.asked

    return on


def test_a_patch_that_does_as_well_with_every_seed_is_proven(reproduced):
    found, asked = reproduced("a", "b", results={"a": runs(0.79, 0.8, 0.78)})
    assert found.proven
    assert "3 seeds" in found.because
    assert "digit by digit" not in found.because
    assert asked == [("a", 0), ("a", 1), ("a", 2)]


def test_equal_losses_are_said(reproduced):
    found, _asked = reproduced("a", results={"a": TREATED.runs})
    assert "digit by digit" in found.because


def test_one_poor_run_is_enough_to_go_on_to_the_next_way(reproduced):
    results = {"a": runs(0.3, 0.8, 0.8), "b": runs(0.8, 0.8, 0.8)}
    found, asked = reproduced("a", "b", results=results)
    assert found.proven
    assert found.patch.diff == "b"
    assert asked == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]


def test_a_patch_that_helps_less_is_shown_and_not_proven(reproduced):
    found, _asked = reproduced("a", results={"a": runs(0.3, 0.3, 0.3)})
    assert not found.proven
    assert found.patch.diff == "a"
    assert "gains +0.300, the treatment +0.800" in found.because


def test_the_threshold_is_four_fifths_of_the_gain(reproduced):
    pairs = list(zip(UNTREATED.runs, TREATED.runs, strict=True))
    for factor, proven in ((0.801, True), (0.799, False)):
        first, *others = (plain.score + factor * (did.score - plain.score) for plain, did in pairs)
        # the first seed alone does well enough, the others make up for it
        scores = [first + 0.01, others[0] - 0.005, others[1] - 0.005]
        found, asked = reproduced("a", results={"a": runs(*scores)})
        assert len(asked) == 3
        assert found.proven is proven, (factor, found.because)


def test_a_patch_that_crashes_is_not_proven_and_says_why(reproduced):
    broken = tuple(TrialRun(seed, failed="TypeError: no") for seed in SEEDS)
    found, asked = reproduced("a", results={"a": broken})
    assert not found.proven
    assert "TypeError: no" in found.because
    assert len(asked) == 1


def test_nothing_written_is_nothing_run(reproduced):
    found, asked = reproduced("", results={})
    assert (found.proven, found.arm, asked) == (False, None, [])
    assert "no place" in found.because


def test_what_the_budget_did_not_allow_is_said(reproduced):
    found, _asked = reproduced("a", results={"a": runs(math.nan, 0.8, 0.8)}, deadline=0.0)
    assert not found.proven
    assert "budget" in found.because


def test_a_treatment_without_a_form_in_source_is_told_in_words():
    patch = SourcePatch((), "", "/", ((ClipGradient("zclip", 3.0), "No place."),))
    change = unrun(patch, "")
    told = change.told(Trial(diagnose(()), True, "It learns.", "5 minutes", treated=TREATED))
    assert not told.diff_proven
    text = " ".join(render_trial(told, color=False, width=90).split())
    assert "Not proven as a diff. It cannot be written into the source: No place." in text
    assert "Left out: Clip gradient norms 3 standard deviations out (ZClip). No place." in text

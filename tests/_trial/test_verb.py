"""The trial from end to end on a tiny script, and how it is shown."""

import json
import subprocess
from functools import partial

import jsonschema
import pytest

from _trial.conftest import HEALED, SICK, patched
from gradfuga import trial
from gradfuga._edits import Initialize, InsertNormalization, SetOptimizer, SwapActivation
from gradfuga._errors import TrialError
from gradfuga._trial.scratch import PREFIX
from gradfuga._trial.workers import LocalPool
from gradfuga._types import Prescription, Safety
from gradfuga.experiment import Treatment
from gradfuga.report.document import dumps, schema
from gradfuga.report.html import render_html
from gradfuga.report.text import render_text
from gradfuga.report.trial_text import render_trial

# It draws its weights once: ReLU in its place changes nothing else.
PLAIN = SICK.replace('if ACTIVATION == "ReLU":', "if RATE > 1.0:")


def treatment(title, *edits, safety=Safety.UNSAFE, remedy="RX001"):
    return Treatment(title, (Prescription(remedy, title, (), safety, edits),), safety=safety)


TREATMENTS = (
    treatment("swap", SwapActivation("relu"), Initialize("fan_in", 2**0.5)),
    treatment("rate", SetOptimizer("lr", 2.0, relative=True), safety=Safety.SAFE, remedy="RX010"),
    patched("import torch\nraise MemoryError('no')", title="breaks"),
)


@pytest.fixture
def tried(tmp_path, monkeypatch, pool):
    def on(source, **settings):
        (tmp_path / "train.py").write_text(source, "utf-8")
        monkeypatch.chdir(tmp_path)
        return trial("train.py", **{"budget": "120steps", "seeds": 3, "pool": pool, **settings})

    return on


def test_the_treatment_that_works_is_proven_and_shown(tried, tmp_path):
    found = tried(PLAIN, treatments=TREATMENTS)
    assert found.proven, found.because
    assert found.treated.treatment.title == "swap"
    assert found.comparison.pairs == 3
    assert found.comparison.interval[0] > 0.05
    assert found.treated.reach > found.untreated.reach
    broken = next(arm for arm in found.tried if arm.treatment.title == "breaks")
    assert broken.failed == "out of memory"
    assert any("seeds itself" in note for note in found.notes)
    # the source: patched, run, and untouched
    assert found.diff_proven, found.diff_because
    assert "digit by digit" in found.diff_because
    assert len(found.patched.runs) == 3
    assert found.patched.score > 0.8 * found.treated.score
    assert (tmp_path / "train.py").read_text() == PLAIN
    [file] = found.sources
    assert file.path == str(tmp_path / "train.py")
    assert file.before == PLAIN
    seen = {line.file for each in found.diagnosis.findings for line in each.source}
    assert seen == {file.path}
    # nothing names the working copies
    pytest.importorskip("bokeh")
    page = render_html(found.diagnosis, found.trainings, found)
    told = render_text(found.diagnosis, color=False, width=80)
    for shown in (page, dumps(found.diagnosis, found), told, render_trial(found, color=False)):
        assert PREFIX not in shown
        assert "train.py" in shown
    # as it is piped, the whole text is a patch
    document = json.loads(dumps(found.diagnosis, found))
    jsonschema.validate(document, schema())
    assert document["trial"]["proven"] is True
    assert document["trial"]["diff"] == found.diff
    text = render_trial(found, color=False, width=80)
    assert "swap" in text
    assert max(map(len, text.replace(found.diff, "").splitlines())) <= 80
    git = partial(subprocess.run, cwd=tmp_path, check=True, input=text, text=True)
    git(["git", "init", "-q"])
    git(["git", "apply"])
    assert (tmp_path / "train.py").read_text() == file.after
    assert "\x1b[32m+" in render_trial(found, color=True, width=80)
    assert "trial-loss" in page
    assert "trial-reach" in page


@pytest.mark.parametrize(
    ("last_words", "known"),
    [
        ("observed", "observed"),
        ("swap, seed 0", "before anything was proven"),
        ("patched, seed 0", "every seed"),
    ],
)
def test_ctrl_c_keeps_what_is_known(tried, last_words, known):
    def tell(text):
        if last_words in text:
            raise KeyboardInterrupt

    found = tried(PLAIN, treatments=TREATMENTS[:1], tell=tell, pool=LocalPool(1))
    assert found.interrupted
    assert known in found.because
    assert found.proven == (known == "every seed")
    jsonschema.validate(json.loads(dumps(found.diagnosis, found)), schema())
    if found.proven:
        assert found.comparison.interval[0] > 0.05
        assert '+ACTIVATION = "ReLU"' in found.diff
        assert not found.diff_proven
        assert "Not proven as a diff." in render_trial(found, color=False, width=80)


def test_what_the_source_has_no_place_for_is_proven_and_told_in_words(tried, tmp_path):
    hidden = PLAIN.replace("nn.Linear(16, 16)", "getattr(nn, 'Lin' + 'ear')(16, 16)")
    hidden = hidden.replace("torch.optim.SGD(", "getattr(torch.optim, 'S' + 'GD')(")
    normalize = treatment("normalize", InsertNormalization("batch"), remedy="RX004")
    found = tried(hidden, treatments=[normalize])
    assert found.proven, found.because
    assert (found.diff, found.diff_proven, found.sources) == ("", False, ())
    text = " ".join(render_trial(found, color=False, width=90).split())
    assert "Not proven as a diff. It cannot be written into the source" in text
    assert "Left out: Put BatchNorm between each layer and its activation." in text
    document = json.loads(dumps(found.diagnosis, found))
    jsonschema.validate(document, schema())
    assert document["trial"]["unplaced"]
    assert (tmp_path / "train.py").read_text() == hidden


def test_that_no_treatment_helped_is_a_result(tried):
    found = tried(SICK, treatments=TREATMENTS[1:])
    assert not found.proven
    assert found.treated is None
    assert found.because


def test_of_a_script_without_an_end_a_slice_is_tried_and_said(tried):
    found = tried(PLAIN.replace("range(120)", "range(10**9)"), treatments=TREATMENTS[1:2])
    assert (found.slice_steps, found.whole) == (120, False)
    assert any("the first 120 steps" in note for note in found.notes)


def test_a_script_that_is_too_slow_for_the_budget_is_not_judged(tried):
    backward = "    loss.backward()\n"
    slow = PLAIN.replace(backward, f"{backward}    import time; time.sleep(5)\n")
    found = tried(slow, treatments=TREATMENTS, budget="20s", seeds=None)
    assert not found.proven
    assert "budget is too small" in found.because
    assert found.tried == ()


def test_a_script_that_learns_is_left_alone(tried):
    found = tried(HEALED, treatments=TREATMENTS)
    assert (found.proven, found.tried) == (False, ())
    assert found.diagnosis.verdict.value == "healthy"


def test_a_script_that_does_not_run_is_an_error_of_three_parts(tried):
    with pytest.raises(TrialError, match="NameError") as caught:
        tried("x = nothing\n")
    assert caught.value.instead

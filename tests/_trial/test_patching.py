"""A treatment as a change of several files: who gets which edit, and what git makes of it."""

import io
import subprocess
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from gradfuga._diagnose import diagnose
from gradfuga._edits import (
    AddSkip,
    Calibrate,
    ClipGradient,
    Initialize,
    InsertNormalization,
    SetPrecision,
    SwapActivation,
)
from gradfuga._errors import MissingExtraError
from gradfuga._torch.transplant import Transplant
from gradfuga._trial import patching
from gradfuga._trial.patching import patches
from gradfuga._trial.scratch import Place, working_copy
from gradfuga._types import Prescription, Safety, SourceLine
from gradfuga.experiment import Treatment, Trial
from gradfuga.flow import FlowGraph, Op, OpRole
from gradfuga.report.trial_text import raw_diff, write_trial
from patch.styles import run

MODEL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.hidden = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        gate = torch.sigmoid(self.gate(x))
        return gate * self.hidden(torch.sigmoid(x))
"""
TRAIN = """\
import torch
from nets.model import Net

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for x in data:
    net(x).sum().backward()
    optimizer.step()
"""
FILES = ("train.py", "nets/model.py")
SWAP = SwapActivation("relu", of="sigmoid", paths=("sigmoid#2",))
HE = Initialize("fan_in", 2**0.5)


def treatment(*edits):
    return Treatment("t", (Prescription("RX001", "t", (), Safety.UNSAFE, edits),))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "model.py").write_text(MODEL)
    (tmp_path / "train.py").write_text(TRAIN)
    return Place.of("train.py", tmp_path)


def graph(place, line):
    source = SourceLine(str(place.root / "nets" / "model.py"), line, "")
    return FlowGraph((Op(0, "SigmoidBackward0", "sigmoid#2", OpRole.ACTIVATION, source=source),))


def applied(patch, files=FILES):
    """Let git apply the diff in its folder, and return the files."""
    subprocess.run(["git", "init", "-q"], cwd=patch.base, check=True)
    subprocess.run(["git", "apply"], cwd=patch.base, check=True, input=patch.diff.encode())
    return [file.after for file in patch.files]


def test_each_edit_goes_to_the_file_that_has_its_place(place):
    first, everywhere = patches(
        treatment(SWAP, HE, ClipGradient("norm", 1.0)), place, FILES, graph(place, 12)
    )
    texts = applied(first)
    assert texts == [(place.root / name).read_text() for name in ("nets/model.py", "train.py")]
    assert "gate = torch.sigmoid(self.gate(x))" in texts[0]
    assert "self.hidden(torch.relu(x))" in texts[0]
    assert "torch.nn.init.normal_" in texts[1]
    assert "clip_grad_norm_(net.parameters(), 1)" in texts[1]
    assert not first.unplaced
    assert "gate = torch.relu(self.gate(x))" in everywhere.files[0].after


def test_without_a_known_line_there_is_one_way(place):
    [only] = patches(treatment(SWAP), place, FILES, FlowGraph())
    assert "torch.relu" in only.files[0].after


def test_what_has_no_place_is_told_and_the_rest_is_written(place):
    patch, *_ = patches(treatment(SWAP, SetPrecision("bfloat16")), place, FILES, graph(place, 12))
    assert [edit for edit, _why in patch.unplaced] == [SetPrecision("bfloat16")]
    assert patch.diff
    [nothing] = patches(treatment(SetPrecision("bfloat16")), place, FILES, FlowGraph())
    assert (nothing.diff, nothing.files) == ("", ())
    assert nothing.unplaced[0][1]


def test_names_are_those_of_the_working_directory_where_it_holds_all(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "run it").mkdir()
    (tmp_path / "run it" / "train.py").write_text(TRAIN)
    (tmp_path / "model.py").write_text(MODEL)
    place = Place.of("train.py", tmp_path / "run it")
    [inside] = patches(treatment(HE), place, ("run it/train.py",), FlowGraph())
    assert inside.base == str(place.folder)
    assert "--- a/train.py\n" in inside.diff
    [both] = patches(treatment(SWAP, HE), place, ("run it/train.py", "model.py"), FlowGraph())
    assert both.base == str(place.root)
    (tmp_path / ".git").rmdir()
    assert applied(both)[1] == (tmp_path / "run it" / "train.py").read_text()


@pytest.mark.parametrize(
    "text",
    [
        TRAIN.replace("\n", "\r\n"),
        TRAIN.rstrip("\n"),
        TRAIN.replace("\nnet =", "\n\x0c\nnet ="),
        TRAIN.replace("net = Net()", "net = Net()  # \u2028 \x1c   "),
    ],
    ids=["crlf", "no-last-newline", "form-feed", "odd-ends"],
)
def test_a_diff_applies_whatever_the_lines_end_in(tmp_path, text):
    (tmp_path / "train.py").write_bytes(text.encode())
    place = Place.of("train.py", tmp_path)
    [patch] = patches(treatment(ClipGradient("norm", 1.0)), place, ("train.py",), FlowGraph())
    [after] = applied(patch)
    assert (tmp_path / "train.py").read_bytes() == after.encode()
    assert patch.files[0].before == text


LATIN = "# -*- coding: latin-1 -*-\n" + TRAIN.replace("net = Net()", "net = Net()  # \xe9t\xe9")
TABS = TRAIN.replace("    ", "\t")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (LATIN, "latin-1"),
        (LATIN.replace("\n", "\r\n").replace("latin-1", "cp1252"), "cp1252"),
        ("\ufeff" + TRAIN.replace("net = Net()", "net = Net()  # \xe9"), "utf-8"),
        ("\ufeff" + TABS.replace("\n", "\r\n"), "utf-8"),
        (TABS, "utf-8"),
    ],
    ids=["latin-1", "cp1252-crlf", "mark", "mark-crlf-tabs", "tabs"],
)
def test_a_file_keeps_its_encoding_its_mark_its_line_ends_and_its_tabs(tmp_path, text, encoding):
    before = text.encode(encoding)
    (tmp_path / "train.py").write_bytes(before)
    place = Place.of("train.py", tmp_path)
    edits = treatment(HE, ClipGradient("agc", 0.01), ClipGradient("norm", 1.0))
    [patch] = patches(edits, place, ("train.py",), FlowGraph())
    assert not patch.unplaced
    with working_copy(place, dict(patch.treatment(place).sources)) as (_ours, copy):
        ran = copy.script.read_bytes()
    trial = Trial(diagnose(()), True, "", "", diff=patch.diff, sources=patch.files)
    git = partial(subprocess.run, cwd=tmp_path, check=True)
    git(["git", "init", "-q"])
    git(["git", "apply"], input=raw_diff(trial))
    after = (tmp_path / "train.py").read_bytes()
    assert after == ran == patch.files[0].after.encode(encoding) != before
    compile(after, "train.py", "exec")
    assert set(before.splitlines()) - set(after.splitlines()) == set()  # nothing else changed
    ends = after.count(b"\r\n"), after.count(b"\n")
    assert ends[0] == (ends[1] if b"\r\n" in before else 0)
    assert (b"\n    " in after) is (b"\n    " in before)


def test_the_diff_is_piped_in_the_bytes_of_the_files(tmp_path):
    (tmp_path / "train.py").write_bytes(LATIN.encode("latin-1"))
    place = Place.of("train.py", tmp_path)
    [patch] = patches(treatment(HE), place, ("train.py",), FlowGraph())
    trial = Trial(diagnose(()), True, "", "", diff=patch.diff, sources=patch.files)
    piped = io.TextIOWrapper(io.BytesIO(), "utf-8")
    write_trial(trial, piped)
    piped.flush()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    content = piped.buffer.getvalue()
    subprocess.run(["git", "apply"], cwd=tmp_path, check=True, input=content)
    assert (tmp_path / "train.py").read_bytes() == patch.files[0].after.encode("latin-1")


@pytest.mark.parametrize("start", ["# -*- coding: utf-8 -*-\n", "# coding: klingon\n", ""])
def test_a_file_that_is_not_in_its_own_encoding_is_left_alone(tmp_path, start):
    (tmp_path / "train.py").write_bytes(f"{start}# \xe9\n".encode("latin-1") + TRAIN.encode())
    place = Place.of("train.py", tmp_path)
    [patch] = patches(treatment(HE), place, ("train.py",), FlowGraph())
    assert not patch.diff
    assert "read" in patch.unplaced[0][1]


MODEL_IN_A_LOOP = """\
from torch import nn


def build(sizes=(8, 100, 100, 2)):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
"""


@pytest.mark.parametrize(
    "edit",
    [
        InsertNormalization("layer"),
        InsertNormalization("group"),
        Calibrate(two_sided=True),
        AddSkip(0.5, learned=True),
    ],
    ids=str,
)
def test_what_the_models_own_file_has_no_place_for_is_done_beside_the_optimizer(
    tmp_path, monkeypatch, edit
):
    (tmp_path / "loop_model.py").write_text(MODEL_IN_A_LOOP)
    train = TRAIN.replace("from nets.model import Net", "from loop_model import build")
    train = "import torch\ntorch.manual_seed(0)\n" + train.replace("Net()", "build()")
    train = train.replace("in data", "in torch.randn(20, 4, 8)")
    (tmp_path / "train.py").write_text(train)
    place = Place.of("train.py", tmp_path)
    files = ("train.py", "loop_model.py")
    patch, *_more = patches(treatment(edit), place, files, FlowGraph())
    assert [Path(file.path).name for file in patch.files] == ["train.py"]
    monkeypatch.syspath_prepend(tmp_path)
    with Transplant([edit]):
        expected = run(train)
    found = run(patch.files[0].after)
    theirs = list(expected["net"].parameters())
    for ours in found["net"].parameters():
        assert any(torch.equal(ours, each) for each in theirs)


def test_sources_of_a_treatments_own_are_its_patch(place):
    new = dedent(TRAIN).replace("0.1", "0.2")
    [patch] = patches(Treatment("t", sources=(("train.py", new),)), place, FILES, FlowGraph())
    assert "+optimizer = torch.optim.SGD(net.parameters(), lr=0.2)" in patch.diff


def test_without_libcst_an_error_of_three_parts_names_the_extra(monkeypatch):
    monkeypatch.setattr(patching, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"libcst.*gradfuga\[repair\]"):
        patching.demand_libcst()

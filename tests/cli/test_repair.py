"""`gradfuga repair` as a command: consent, writing, Ctrl-C, what is refused at the door."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from _trial.conftest import SICK
from gradfuga._diagnose import diagnose
from gradfuga._edits import UseLogits
from gradfuga._types import Prescription, Safety
from gradfuga.cli._writing import write_source
from gradfuga.experiment import Arm, PatchedFile, Treatment, Trial
from gradfuga.report.trial_text import render_trial

OLD, NEW = "rate = 1\r\n", "rate = 2\r\n"


@pytest.fixture
def file(tmp_path):
    place = tmp_path / "train.py"
    place.write_bytes(OLD.encode())
    place.chmod(0o750)
    return place


def trial(file, *, proven=True, diff_proven=True, safety=Safety.SAFE):
    return Trial(
        diagnosis=diagnose(()),
        proven=proven,
        because="",
        budget="",
        treated=Arm(Treatment("t", safety=safety)),
        diff="a diff",
        diff_proven=diff_proven,
        diff_because="It was run.",
        sources=(PatchedFile(str(file), OLD, NEW),),
    )


def test_a_proven_change_is_written_as_it_was_patched_and_the_mode_stays(file):
    assert write_source(trial(file), unsafe=False)
    assert file.read_bytes() == NEW.encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    assert os.listdir(file.parent) == ["train.py"]


def test_a_change_is_written_in_the_encoding_that_the_file_declares(file):
    cookie = "# coding: latin-1\n# \xe9\n"
    file.write_bytes(f"{cookie}{OLD}".encode("latin-1"))
    change = PatchedFile(str(file), f"{cookie}{OLD}", f"{cookie}{NEW}")
    assert write_source(replace(trial(file), sources=(change,)), unsafe=False)
    assert file.read_bytes() == f"{cookie}{NEW}".encode("latin-1")


@pytest.mark.parametrize("flaw", [{"proven": False}, {"diff_proven": False}])
def test_what_is_not_proven_is_not_written(file, flaw, capfd):
    assert not write_source(trial(file, **flaw), unsafe=True)
    assert file.read_bytes() == OLD.encode()
    assert "proven" in capfd.readouterr().err


@pytest.mark.parametrize(("terminal", "answer"), [(False, True), (True, False), (True, True)])
def test_an_unsafe_change_is_asked_for_on_a_terminal(file, monkeypatch, terminal, answer):
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("typer.confirm", lambda _question: answer)
    unsafe = trial(file, safety=Safety.UNSAFE)
    assert write_source(unsafe, unsafe=False) is (terminal and answer)
    assert (file.read_bytes() == NEW.encode()) is (terminal and answer)


def test_a_change_to_logits_is_asked_for_although_the_edit_in_memory_is_safe(file):
    logits = Prescription("RX012", "", (), Safety.SAFE, (UseLogits(),))
    found = replace(trial(file), treated=Arm(Treatment("t", (logits,))))
    assert not write_source(found, unsafe=False)
    assert "puts out logits" in render_trial(found, color=False, width=200)
    assert write_source(found, unsafe=True)


def test_consent_may_be_given_ahead(file):
    assert write_source(trial(file, safety=Safety.UNSAFE), unsafe=True)


def test_a_file_that_has_changed_meanwhile_is_left_alone(file, capfd):
    file.write_text("rate = 3\n")
    assert not write_source(trial(file), unsafe=True)
    assert file.read_text() == "rate = 3\n"
    assert "changed" in capfd.readouterr().err


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "gradfuga", "repair", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_on_the_command_line_tells_what_is_known(tmp_path):
    (tmp_path / "train.py").write_text(SICK)
    run = start(tmp_path, "--budget", "120steps", "--jobs", "1", "train.py")
    for line in run.stderr:
        if "untreated, seed 0" in line:
            run.send_signal(signal.SIGINT)
            break
    text, rest = run.communicate(timeout=120)
    assert run.returncode == 130, rest
    assert "Interrupted before anything was proven." in text
    assert "VANISHING" in text
    assert "Traceback" not in text + rest
    assert (tmp_path / "train.py").read_text() == SICK


def test_ctrl_c_while_the_script_is_observed_tells_what_was_seen(tmp_path):
    folder, marker = tmp_path / "project", tmp_path / "marker"
    folder.mkdir()
    endless = SICK.replace("for _ in range(120):", "for step in range(10**9):") + (
        "    if step == 150:\n        open(__import__('sys').argv[1], 'w').close()\n"
    )
    (folder / "train.py").write_text(endless)
    run = start(folder, "--budget", "1000000steps", "--json", "said.json", "train.py", str(marker))
    for _ in range(1200):
        if marker.exists():
            break
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    text, rest = run.communicate(timeout=120)
    assert run.returncode == 130, rest
    assert "Interrupted while the script was observed." in text
    assert "VANISHING" in text
    assert "Traceback" not in text + rest
    said = json.loads((folder / "said.json").read_text())
    assert said["verdict"] == "vanishing"
    assert said["run"]["interrupted"] is True
    assert said["run"]["steps"] > 150
    assert said["trial"]["interrupted"] is True
    files = {line["file"] for finding in said["findings"] for line in finding["source"]}
    assert files == {str(folder / "train.py")}
    assert (folder / "train.py").read_text() == endless


def test_a_script_that_needs_arguments_is_an_error_with_its_own_words(tmp_path):
    (tmp_path / "train.py").write_text(
        "import argparse, torch\np = argparse.ArgumentParser()\n"
        "p.add_argument('--data', required=True)\np.parse_args()\n"
    )
    run = start(tmp_path, "train.py")
    _text, error = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "the following arguments are required: --data" in error
    assert "give its arguments after its name" in error

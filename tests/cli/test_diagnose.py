"""`gradfuga diagnose` on recorded runs, whole, several and damaged."""

import json

import pytest

from gradfuga._types import Kind
from gradfuga.readings import Reading, Readings, RunRecord


def record(folder, *, steps):
    rows = [Reading(step, "loss", Kind.LOSS, "value", 1.0) for step in range(steps)]
    return Readings(rows, record=RunRecord(steps=steps)).save(folder)


def test_a_recorded_run_gets_its_verdict_document_and_exit_code_again(faked):
    record(faked.folder / "rec", steps=4)
    ending = faked.gradfuga(
        "diagnose", "rec", "--json", "d.json", "--fail-on", "mild", FAKE_SEVERITY="fatal"
    )
    assert ending.code == 3
    assert "after 4 steps" in ending.out
    assert json.loads((faked.folder / "d.json").read_text())["severity"] == "fatal"
    assert faked.gradfuga("diagnose", "rec", "--fail-on", "mild").code == 0


def test_the_trainings_of_one_script_are_read_in_their_order(faked):
    for number in range(11):
        record(faked.folder / "rec" / str(number), steps=number + 1)
    (faked.folder / "rec" / "notes").mkdir()
    ending = faked.gradfuga("diagnose", "rec")
    assert ending.code == 0
    assert "after 1 steps" in ending.out


def test_the_document_of_a_run_and_of_its_folder_are_the_same(faked):
    faked.write("train.py", "import torch\nfor _ in range(3): torch.step()")
    faked.gradfuga("run", "--out", "rec", "--json", "a.json", "train.py")
    faked.gradfuga("diagnose", "rec", "--json", "b.json")
    assert (faked.folder / "a.json").read_bytes() == (faked.folder / "b.json").read_bytes()


def absent(folder):
    pass


def empty(folder):
    folder.mkdir()


def no_json(folder):
    record(folder, steps=1)
    (folder / "manifest.json").write_text("{")


def foreign(folder):
    record(folder, steps=1)
    (folder / "manifest.json").write_text('{"schema": "other/1"}')


def newer(folder):
    record(folder, steps=1)
    (folder / "manifest.json").write_text('{"schema": "gradfuga.run/999"}')


def cut_part(folder):
    record(folder, steps=1)
    part = next(folder.glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:40])


def no_graph(folder):
    record(folder, steps=1)
    (folder / "graph.json").unlink()


def one_of_two(folder):
    record(folder / "0", steps=1)
    record(folder / "1", steps=1)
    cut_part(folder / "1")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (absent, "got none"),
        (empty, "a folder without one"),
        (no_json, "manifest.json"),
        (foreign, "other/1"),
        (newer, "gradfuga.run/999"),
        (cut_part, "part-"),
        (no_graph, "graph.json"),
        (one_of_two, "part-"),
    ],
)
def test_a_folder_that_cannot_be_read_is_one_clear_error(faked, make, says):
    make(faked.folder / "rec")
    ending = faked.gradfuga("diagnose", "rec")
    assert (ending.code, ending.out) == (2, "")
    assert ending.err.startswith("gradfuga: error: expected ")
    assert says in ending.err
    assert "Traceback" not in ending.err


@pytest.mark.parametrize(
    "words", [["--json", "-"], ["--lang", "fr"], ["--fail-on", "x"], ["--report", "rec"]]
)
def test_bad_options_are_refused(faked, words):
    record(faked.folder / "rec", steps=1)
    ending = faked.gradfuga("diagnose", "rec", *words)
    assert ending.code == 2
    assert ending.err.startswith("gradfuga: error: expected ")

"""What `gradfuga run` adds to a script, and what it leaves alone."""

import json
import signal
import subprocess
import sys

import pytest

TRAIN = """
import sys, torch
for _ in range(5):
    torch.step()
print("trained", sys.argv[1:])
"""


@pytest.fixture
def train(faked):
    faked.write("train.py", TRAIN)
    return faked


def run_and_signal(shell, number, *words, **environment):
    process = shell.start(*words, **environment)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_stdout_is_byte_equal_and_the_verdict_goes_to_stderr(train):
    plain = train.python("train.py", "--lr", "1")
    ending = train.gradfuga("run", "train.py", "--lr", "1")
    assert ending.out == plain.out
    assert ending.code == plain.code == 0
    assert "after 5 steps" in ending.err


def test_every_word_after_the_script_is_the_scripts(train):
    words = ["--json", "x", "-m", "--", "--help", "--every", "0", ""]
    ending = train.gradfuga("run", "--every", "3", "train.py", *words)
    assert ending.out == train.python("train.py", *words).out
    ending = train.gradfuga("run", "--", "train.py", "--", "x")
    assert ending.out == train.python("train.py", "--", "x").out


def test_a_module_runs_with_relative_imports(faked):
    faked.write("pkg/__init__.py", "")
    faked.write("pkg/data.py", "SIZE = 3")
    faked.write("pkg/train.py", "import torch\nfrom .data import SIZE\n" + TRAIN + "print(SIZE)")
    words = ["-m", "pkg.train", "--lr", "1"]
    ending = faked.gradfuga("run", *words)
    assert ending.out == faked.python(*words).out
    assert "after 5 steps" in ending.err
    assert faked.runs[0].name.startswith("pkg.train-")


def test_the_observer_gets_the_settings(train):
    train.gradfuga("run", "--every", "3", "--out", "rec", "train.py")
    out = train.folder / "rec"
    assert train.said[0] == f"budget=0.01 every=3 out={out} script=train.py"
    train.gradfuga("run", "--budget", "0.5", "--out", "rec2", "train.py")
    assert f"budget=0.5 every=None out={out}2 script=train.py" in train.said


def test_the_default_folder_is_named_by_script_and_date_and_hidden_from_git(train):
    ending = train.gradfuga("run", "train.py")
    [folder] = train.runs
    name, date, clock = folder.name.split("-")
    assert (name, len(date), len(clock)) == ("train", 8, 6)
    assert (folder.parent / ".gitignore").read_text() == "*\n"
    assert f"gradfuga diagnose gradfuga-runs/{folder.name}" in ending.err


def test_of_the_processes_of_one_job_only_the_first_speaks(train):
    silent = train.gradfuga("run", "train.py", RANK="1", WORLD_SIZE="2")
    assert silent.code == 0
    assert "gradfuga" not in silent.err
    assert not train.runs
    assert "Recorded in" in train.gradfuga("run", "train.py", RANK="0", WORLD_SIZE="2").err


def test_without_a_place_to_write_the_run_stays_in_memory_with_one_warning(train):
    (train.folder / "gradfuga-runs").write_text("a file")
    ending = train.gradfuga("run", "train.py")
    assert ending.code == 0
    assert ending.err.count("warning") == 1
    assert "after 5 steps" in ending.err
    assert "out=None" in train.said[0]


def test_a_script_without_torch_gets_a_clear_message_and_its_own_exit_code(faked):
    faked.write("plain.py", "import sys; print('hi'); sys.exit(7)")
    ending = faked.gradfuga("run", "--fail-on", "mild", "--json", "d.json", "plain.py")
    assert (ending.code, ending.out) == (7, "hi\n")
    assert "No training seen: the script did not import torch" in ending.err
    assert faked.runs == []


def test_the_asked_for_document_is_there_without_a_training_and_says_why(shell):
    shell.write("plain.py", "print('hi')")
    assert shell.gradfuga("run", "--json", "d.json", "plain.py").code == 0
    document = json.loads((shell.folder / "d.json").read_text("utf-8"))
    assert document["verdict"] == "inconclusive"
    assert "did not import torch" in document["inconclusive_because"]
    assert document["run"]["script"] == "plain.py"


def test_a_script_that_never_steps_gets_a_clear_message(faked):
    faked.write("idle.py", "import torch")
    ending = faked.gradfuga("run", "idle.py")
    assert ending.code == 0
    assert "to take a step in this process, got none" in " ".join(ending.err.split())
    assert faked.runs == []


def test_the_document_and_the_page_are_written_with_their_folders(train):
    pytest.importorskip("bokeh")
    ending = train.gradfuga("run", "--json", "a/b/d.json", "--report", "c/page.html", "train.py")
    assert ending.code == 0, ending.err
    document = json.loads((train.folder / "a/b/d.json").read_text())
    assert document["schema"] == "gradfuga.diagnosis/1"
    assert "<html" in (train.folder / "c/page.html").read_text("utf-8")
    assert [p.name for p in (train.folder / "a/b").iterdir()] == ["d.json"]


def test_the_places_are_those_of_the_start_where_the_script_changes_folder(faked):
    faked.write("train.py", "import os, tempfile; os.chdir(tempfile.mkdtemp())\n" + TRAIN)
    ending = faked.gradfuga("run", "--json", "d.json", "train.py")
    assert ending.code == 0
    assert (faked.folder / "d.json").exists()
    assert str(faked.runs[0]) in ending.err


@pytest.mark.parametrize(
    ("severity", "threshold", "code"),
    [
        ("none", "mild", 0),
        ("mild", "mild", 3),
        ("mild", "serious", 0),
        ("serious", "serious", 3),
        ("fatal", "serious", 3),
        ("serious", "fatal", 0),
    ],
)
def test_fail_on_turns_a_severe_verdict_into_exit_code_3(train, severity, threshold, code):
    ending = train.gradfuga("run", "--fail-on", threshold, "train.py", FAKE_SEVERITY=severity)
    assert ending.code == code


def test_fail_on_leaves_the_exit_code_of_a_script_that_failed(faked):
    faked.write("train.py", TRAIN + "sys.exit(9)")
    ending = faked.gradfuga("run", "--fail-on", "mild", "train.py", FAKE_SEVERITY="fatal")
    assert ending.code == 9
    assert "after 5 steps" in ending.err


def test_a_traceback_is_pythons_own_and_comes_before_the_verdict(faked):
    faked.write("train.py", TRAIN + "def f(): 1 / 0\nf()")
    plain = faked.python("train.py")
    ending = faked.gradfuga("run", "train.py")
    assert ending.code == plain.code == 1
    assert ending.err.startswith(plain.err)
    assert "after 5 steps" in ending.err


def test_a_script_that_is_no_python_ends_as_under_python(faked):
    faked.write("broken.py", "x = (")
    plain = faked.python("broken.py")
    ending = faked.gradfuga("run", "broken.py")
    assert ending.code == plain.code == 1
    assert ending.err.startswith(plain.err)


def test_an_observer_that_cannot_start_costs_the_diagnosis_only(train):
    ending = train.gradfuga("run", "--fail-on", "mild", "train.py", FAKE_REFUSES="1")
    assert (ending.code, ending.out) == (0, "trained []\n")
    assert ending.err.count("gradfuga:") == 1
    assert "unobserved" in ending.err
    assert "cannot observe" in ending.err


def test_a_diagnosis_that_fails_is_one_warning_and_names_the_recorded_run(train):
    ending = train.gradfuga("run", "train.py", FAKE_SICK="1")
    assert (ending.code, ending.out) == (0, "trained []\n")
    assert ending.err.count("warning") == 1
    assert "KeyError" in ending.err
    assert f"gradfuga diagnose gradfuga-runs/{train.runs[0].name}" in ending.err


def test_an_observer_that_loses_everything_is_one_warning(train):
    ending = train.gradfuga("run", "train.py", FAKE_LOST="1")
    assert ending.code == 0
    assert ending.err.count("warning") == 1


def test_a_disk_that_was_full_is_not_called_a_whole_record(train):
    whole, part = train.gradfuga("run", "train.py"), train.gradfuga("run", "train.py", FAKE_FULL="")
    assert "up to where writing failed" not in whole.err
    assert "up to where writing failed; again: gradfuga diagnose" in part.err


def test_a_document_that_cannot_be_written_at_the_end_is_one_warning(faked):
    faked.write("train.py", TRAIN + "open('late', 'w').close()")
    ending = faked.gradfuga("run", "--json", "late/d.json", "train.py")
    assert ending.code == 0
    assert ending.err.count("warning") == 1
    assert "JSON document could not be written" in ending.err
    assert "after 5 steps" in ending.err


def test_a_script_that_closes_stderr_or_replaces_it_keeps_its_exit_code(faked):
    faked.write("train.py", TRAIN + "sys.stderr = open('log', 'w')")
    assert "after 5 steps" in faked.gradfuga("run", "train.py").err
    assert (faked.folder / "log").read_text() == ""
    faked.write("train.py", TRAIN + "import os; os.close(2)")
    ending = faked.gradfuga("run", "train.py")
    assert (ending.code, ending.out) == (0, "trained []\n")


def test_standard_input_is_the_scripts(train):
    train.write("train.py", TRAIN + "print(sys.stdin.read() == '')")
    assert train.gradfuga("run", "train.py").out.endswith("True\n")


WAIT = """
import atexit, signal, time
atexit.register(print, "atexit")
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("finally", flush=True)
"""


def test_ctrl_c_is_diagnosed_and_dies_of_the_signal(faked):
    faked.write("train.py", TRAIN.rpartition("print")[0] + WAIT)
    code, out, err = run_and_signal(
        faked, signal.SIGINT, "run", "--fail-on", "mild", "train.py", FAKE_SEVERITY="fatal"
    )
    assert (code, out) == (-signal.SIGINT, "finally\natexit\n")
    assert err.count("Traceback") == 1
    assert "after 5 steps" in err
    assert "exit KeyboardInterrupt" in faked.said
    assert json.loads((faked.runs[0] / "manifest.json").read_text())["record"]["interrupted"]


def test_sigterm_is_diagnosed_and_saved_and_dies_of_the_signal(faked):
    faked.write("train.py", TRAIN.rpartition("print")[0] + WAIT)
    code, out, err = run_and_signal(faked, signal.SIGTERM, "run", "--json", "d.json", "train.py")
    assert (code, out) == (-signal.SIGTERM, "")
    assert "after 5 steps" in err
    assert (faked.folder / "d.json").exists()
    assert len(faked.runs) == 1


def test_sigterm_before_any_training_kills_with_the_message_alone(faked):
    faked.write("wait.py", WAIT)
    code, out, err = run_and_signal(faked, signal.SIGTERM, "run", "wait.py")
    assert (code, out) == (-signal.SIGTERM, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_diagnosing_quits_at_once(train, number):
    process = train.start("run", "train.py", FAKE_SLOW="1")
    lines = [process.stdout.readline() for _ in range(2)]
    assert lines[1] == "diagnosing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == -number
    assert "Traceback" not in err


def test_a_launcher_that_ends_a_process_of_a_job_while_it_diagnoses_lets_it_finish(train):
    process = train.start("run", "train.py", FAKE_SLOW="1", RANK="0", WORLD_SIZE="2")
    assert [process.stdout.readline() for _ in range(2)][1] == "diagnosing\n"
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_worker_processes_are_neither_observed_nor_diagnosed(faked):
    faked.write(
        "train.py",
        """
        import multiprocessing, sys, torch

        def work(n):
            torch.step()
            return n * n

        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(pool.map(work, range(4)))
            torch.step()
        """,
    )
    ending = faked.gradfuga("run", "train.py")
    assert ending.out == faked.python("train.py").out
    assert ending.err.count("after 1 steps") == 1
    assert faked.said.count("enter") == 1
    assert sum(line.startswith("exit") for line in faked.said) == 1
    assert len(faked.runs) == 1


def test_a_forked_child_that_ends_as_the_script_ends_prints_no_diagnosis(faked):
    faked.write(
        "train.py",
        "import os, sys, torch\ntorch.step()\nchild = os.fork()\n"
        "if child == 0:\n    torch.step()\n    sys.exit(5)\nprint(os.waitpid(child, 0)[1] >> 8)\n",
    )
    ending = faked.gradfuga("run", "train.py")
    assert ending.out == "5\n"
    assert ending.err.count("HEALTHY") == 1
    assert "abandon" in faked.said


def test_a_subprocess_of_the_script_is_left_alone(faked):
    faked.write(
        "train.py",
        "import subprocess, sys, torch\ntorch.step()\n"
        "subprocess.run([sys.executable, 'child.py'], check=True)\n",
    )
    faked.write("child.py", "import sys; print('gradfuga' in sys.modules)")
    assert faked.gradfuga("run", "train.py").out == "False\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gone.py"], "which does not exist"),
        (["folder"], "no __main__.py"),
        (["-m", "no_such_module_here"], "no_such_module_here"),
        (["--every", "0", "train.py"], "after --every, got 0"),
        (["--every", "-3", "train.py"], "after --every, got -3"),
        (["--budget", "0", "train.py"], "after --budget, got 0"),
        (["--budget", "1.5", "train.py"], "after --budget, got 1.5"),
        (["--budget", "nan", "train.py"], "after --budget, got nan"),
        (["--every", "2", "--budget", "0.1", "train.py"], "got both"),
        (["--lang", "fr", "train.py"], "got 'fr'"),
        (["--fail-on", "awful", "train.py"], "got 'awful'"),
        (["--fail-on", "none", "train.py"], "got 'none'"),
        (["--json", "-", "train.py"], "standard output belongs to the script"),
        (["--json", "folder", "train.py"], "got 'folder', a folder"),
        (["--json", "train.py", "train.py"], "Python file's name"),
        (["--json", "afile/d.json", "train.py"], "cannot be written"),
        (["--report", "/proc/nowhere/p.html", "train.py"], "cannot be written"),
        (["--json", "x", "--report", "x", "train.py"], "got 'x' twice"),
        (["--out", "afile", "train.py"], "got 'afile', a file"),
        (["--out", "afile/rec", "train.py"], "cannot be written"),
        (["--out", "taken", "train.py"], "holds a run already"),
        (["--out", "taken_twice", "train.py"], "holds a run already"),
    ],
)
def test_bad_input_is_one_error_of_three_parts_before_the_script_starts(train, words, says):
    train.write("folder/readme", "")
    train.write("afile", "")
    train.write("taken/manifest.json", "{}")
    train.write("taken_twice/0/manifest.json", "{}")
    ending = train.gradfuga("run", *words)
    assert (ending.code, ending.out) == (2, "")
    assert ending.err.startswith("gradfuga: error: expected ")
    assert says in ending.err
    assert ", got " in ending.err
    assert len(ending.err.splitlines()) == 2  # the third part, what to do, has its own line
    assert train.said == []


@pytest.mark.parametrize("words", [[], ["--no-such", "train.py"], ["--every", "x", "train.py"]])
def test_a_command_that_cannot_be_read_is_refused(train, words):
    ending = train.gradfuga("run", *words)
    assert (ending.code, ending.out) == (2, "")
    assert train.said == []


def test_nothing_heavy_is_imported_before_the_script_does(faked):
    faked.write(
        "show.py",
        "import sys; print([m for m in ('torch', 'numpy', 'pyarrow', 'bokeh') if m in sys.modules])"
        "\nprint(sys.excepthook is sys.__excepthook__, sys.exc_info())",
    )
    ending = faked.gradfuga("run", "--report", "p.html", "show.py")
    assert ending.out == "[]\nTrue (None, None, None)\n"


def test_help_says_where_the_verdict_goes(shell):
    ending = shell.gradfuga("run", "--help")
    assert ending.code == 0
    assert "stderr" in ending.out
    assert sys.executable not in ending.out

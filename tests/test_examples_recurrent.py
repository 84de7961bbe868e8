"""The recurrent examples: ordinary scripts, each with its cure."""

import re
from pathlib import Path

import pytest
from benchmarks.recurrent.tasks import TASKS

from test_examples import EXAMPLES, run

SCRIPTS = sorted((EXAMPLES / "recurrent").glob("*.py"))
# as few steps as show that everything runs; what is learned is in the pages
SHORT = {
    "adding_problem": ("--length", "12", "--steps", "3"),
    "copy_memory": ("--pause", "3", "--steps", "3"),
    "first_token_recall": ("--length", "12", "--steps", "3"),
    "japanese_vowels": ("--epochs", "1"),
    "language_of_words": ("--epochs", "1"),
    "number_translation": ("--epochs", "1"),
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_recurrent_example_knows_nothing_of_gradfuga(script):
    text = script.read_text("utf-8")
    assert "gradfuga" not in text
    assert '__name__ == "__main__"' in text


def test_every_recurrent_example_is_a_task_and_every_page_one_of_them():
    names = sorted(task.script for task in TASKS)
    assert names == [script.stem for script in SCRIPTS] == sorted(SHORT)
    pages = sorted((Path(__file__).parents[1] / "docs" / "recurrent").glob("*.md"))
    assert pages
    for page in pages:
        assert page.stem in names
        assert f"examples/recurrent/{page.stem}.py" in page.read_text("utf-8")


@pytest.mark.parametrize("cure", [(), ("--cure",)], ids=["as-it-is", "cured"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.script)
def test_a_recurrent_example_prints_its_result(task, cure, tmp_path):
    # the cells take turns: one each without the cure, another with it
    cell = ("rnn", "lstm", "gru")[(TASKS.index(task) + len(cure)) % 3]
    script = EXAMPLES / "recurrent" / f"{task.script}.py"
    done = run(script, "--cell", cell, *SHORT[task.script], *cure, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(task.result, done.stdout)

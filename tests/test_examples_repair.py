"""The broken examples of the repair: ordinary scripts, each with its page."""

from pathlib import Path

import pytest
from benchmarks.repaired.cases import CASES

from test_examples import EXAMPLES

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((EXAMPLES / "repair").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_broken_example_knows_nothing_of_gradfuga(script):
    text = script.read_text("utf-8")
    assert "gradfuga" not in text
    assert '__name__ == "__main__"' in text
    compile(text, script.name, "exec")


def test_every_broken_example_is_a_case_with_a_page_and_a_picture():
    names = sorted(case.script for case in CASES)
    assert names == [script.stem for script in SCRIPTS]
    assert names == sorted(page.stem for page in (ROOT / "docs" / "repair").glob("*.md"))
    for case in CASES:
        page = (ROOT / "docs" / "repair" / f"{case.script}.md").read_text("utf-8")
        assert page.startswith(f"# {case.title}")
        assert f"gradfuga repair --budget {case.budget} examples/repair/{case.script}.py" in page
        assert (ROOT / "docs" / "images" / f"repair_{case.script}.png").exists()
        assert f"repair/{case.script}.md" in (ROOT / "docs" / "repair.md").read_text("utf-8")

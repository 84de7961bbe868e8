"""The documentation: its links lead somewhere, its example runs, both READMEs say the same."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from gradfuga._contracts import AbstractRule

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_within_the_project_leads_to_a_file(page):
    targets = [t for t in LINK.findall(page.read_text("utf-8")) if "://" not in t]
    assert not [t for t in targets if not (page.parent / t).exists()]


def test_every_decision_says_what_would_change_our_mind():
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert decisions
    for page in decisions:
        headings = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.M)
        wanted = ["Context", "Choice", "Consequence", "What would change our mind"]
        assert headings[:4] == wanted, page.name


def test_every_decision_is_listed_with_the_drawing():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        assert f"(adr/{page.name})" in text


def test_both_readmes_show_the_same_commands():
    blocks = [
        re.findall(r"```(?:bash|python)\n(.*?)```", (ROOT / name).read_text("utf-8"), re.S)
        for name in ("README.md", "README.pt-BR.md")
    ]
    assert blocks[0]
    assert blocks[0] == blocks[1]


class _Layer:
    def __init__(self, path):
        self.path = path


class _Case:
    """As much of a case as the example asks for."""

    layers = (_Layer("head"), _Layer("stem"))
    steps = (0,)

    def __init__(self, stem):
        self.reach = np.array([[0.0, stem]])

    def source_of(self, paths):
        return ()


def test_the_example_rule_of_the_documentation_flips_at_its_threshold(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "adding-a-rule.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "loud_start_example.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    rule = importlib.import_module("loud_start_example").RULE
    assert isinstance(rule, AbstractRule)
    assert not list(rule.check(_Case(stem=1.30)))
    (finding,) = rule.check(_Case(stem=1.31))
    assert finding.paths == ("stem",)
    assert finding.evidence[0].observed == pytest.approx(1.31)

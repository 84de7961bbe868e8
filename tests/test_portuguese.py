"""What is said under ``pt-BR`` is Portuguese throughout: text, page, command, errors."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import pytest
import torch
from torch import nn

from _catalogue import PACKAGE, pairs
from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRule
from gradfuga._diagnose import diagnose
from gradfuga._messages import _, language
from gradfuga._observe import observe
from gradfuga._sentences import sentence
from gradfuga._types import Diagnosis, Verdict
from gradfuga.analysis.words import cause_word, factor_words
from gradfuga.readings import Readings
from gradfuga.report._statistics import statistic_word, unit_word
from gradfuga.report.html import render_html
from gradfuga.report.text import render_text

# A fragment this long that stands in an English message is no accident in a Portuguese text.
TELLING = 12


@pytest.mark.parametrize(
    ("decades", "said"),
    [
        (-1.3, "20 vezes menor"),
        (4.6, "40 mil vezes maior"),
        (-6.0, "1 milhão de vezes menor"),
        (-6.2, "1.6 milhão de vezes menor"),
        (7.6, "40 milhões de vezes maior"),
        (-9.1, "1.3 bilhão de vezes menor"),
        (-12.5, "3.2 trilhões de vezes menor"),
        (-22.0, "1e22 vezes menor"),
        (0.0, "mesmo tamanho"),
    ],
)
def test_portuguese_factors_agree_in_number(decades, said):
    with language("pt-BR"):
        assert factor_words(decades) == said


def test_the_language_ends_with_its_block():
    with language("pt-BR"):
        assert _("layer") == "camada"
        with language("en"):
            assert _("layer") == "layer"
        assert _("layer") == "camada"
    assert _("layer") == "layer"


def test_every_statistic_that_a_rule_cites_has_a_portuguese_name():
    """Those written out where evidence is made; `claim` is of every cause."""
    cited = {"claim"}
    for file in (PACKAGE / "rules").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = {"Evidence": 2, "without_claim": 3}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    argument = node.args[place]
                    if isinstance(argument, ast.Constant):
                        cited.add(argument.value)
    assert len(cited) > 20
    for name in cited:
        assert statistic_word(name) == name.replace("_", " ")
        with language("pt-BR"):
            assert statistic_word(name) != name.replace("_", " "), name
    with language("pt-BR"):
        assert (unit_word("decades"), unit_word("")) == ("décadas", "")


def test_every_cause_has_a_portuguese_name():
    causes = {rule.cause for rule in collect("gradfuga.rules", "RULE", of=AbstractRule).values()}
    assert len(causes) > 15
    for cause in causes:
        english = cause_word(cause)
        with language("pt-BR"):
            assert cause_word(cause) != english, cause


class _Prose(HTMLParser):
    """Keeps what a reader of the page sees, without code."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag, attrs):
        self._silent += tag in ("script", "style", "code", "pre")

    def handle_endtag(self, tag):
        self._silent -= tag in ("script", "style", "code", "pre")

    def handle_data(self, data):
        if not self._silent:
            self.text.append(data)


def english_fragments() -> set[str]:
    """What stands between the placeholders of the English texts, where it is long enough to tell.

    A fragment that is also part of a Portuguese text (a call, a command) tells nothing.
    """
    spoken = " ".join(said for _english, said in pairs())
    found = {
        literal.strip()
        for english, _said in pairs()
        for literal, *_rest in Formatter().parse(english)
    }
    return {each for each in found if len(each) >= TELLING and each not in spoken}


def leaks(text: str) -> list[str]:
    flat = " ".join(text.split())
    return sorted(each for each in english_fragments() if each in flat)


@cache
def trained(sick: bool) -> Readings:
    """A deep sigmoid network, or a shallow one of ReLUs, on the same easy task."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        hidden = 8 if sick else 1
        act = nn.Sigmoid if sick else nn.ReLU
        layers = [nn.Linear(8, 16), act()]
        for _layer in range(hidden):
            layers += [nn.Linear(16, 16), act()]
        model = nn.Sequential(*layers, nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        x = torch.randn(256, 8)
        y = (x[:, 0] > 0).long()
        with observe(model, optimizer) as observer:
            for _step in range(300):
                batch = torch.randint(0, 256, (64,))
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
    finally:
        torch.set_num_threads(before)
    return observer.readings


def spoken(sick: bool, lang: str) -> tuple[Diagnosis, str, str, str]:
    """The diagnosis with its text, its page, and what a reader of the page sees."""
    readings = trained(sick)
    with language(lang):
        diagnosis = diagnose(readings)
        page = render_html(diagnosis, [readings])
        text = render_text(diagnosis, width=100, color=False)
    prose = _Prose()
    prose.feed(page)
    return diagnosis, text, page, " ".join(prose.text)


def test_the_detector_of_leaks_finds_english():
    for sick in (True, False):
        _diagnosis, text, _page, prose = spoken(sick, "en")
        assert len(leaks(text)) >= 3
        assert len(leaks(prose)) >= 10


def test_a_sick_training_is_told_in_portuguese():
    diagnosis, text, page, prose = spoken(True, "pt-BR")
    assert diagnosis.verdict is Verdict.VANISHING
    assert text.startswith("FUGA DE GRADIENTE - fatal, ao longo da profundidade")
    for said in ("No seu código", "ativação contrativa", "não explicado", "vezes menor", "décadas"):
        assert said in text
        assert said in prose
    assert "<html lang='pt-BR'>" in page
    assert leaks(text) == []
    assert leaks(prose) == []
    with language("pt-BR"):  # an edit is data: it is said when it is shown
        for each in diagnosis.prescriptions:
            assert leaks(" ".join([each.title, *(sentence(edit) for edit in each.edits)])) == []


def test_a_healthy_training_is_told_in_portuguese():
    diagnosis, text, page, prose = spoken(False, "pt-BR")
    assert diagnosis.verdict is Verdict.HEALTHY
    assert text.startswith("SAUDÁVEL")
    assert "A rede aprende, e o gradiente chega a todas as camadas." in text
    assert "gradiente mais fraco" in prose
    assert "<html lang='pt-BR'>" in page
    assert leaks(text) == []
    assert leaks(prose) == []


def test_the_language_changes_words_and_nothing_else():
    english, portuguese_ = spoken(True, "en")[0], spoken(True, "pt-BR")[0]
    assert english.summary != portuguese_.summary
    assert english.verdict is portuguese_.verdict
    assert english.causes == portuguese_.causes
    for one, other in zip(english.findings, portuguese_.findings, strict=True):
        assert (one.code, one.name, one.evidence) == (other.code, other.name, other.evidence)
        assert one.message != other.message


# -- the command


SCRIPT = """
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
x = torch.randn(128, 4)
y = (x[:, 0] > 0).long()
for _ in range(200):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
print("the script's own words")
"""


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "gradfuga", *words],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_a_script_is_run_and_diagnosed_again_in_portuguese(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    ended = command(tmp_path, "run", "--lang", "pt-BR", "--out", "run", "train.py")
    assert (ended.returncode, ended.stdout) == (0, "the script's own words\n")
    assert "SAUDÁVEL" in ended.stderr
    assert "Execução gravada em run" in ended.stderr
    assert leaks(ended.stderr) == []

    again = command(tmp_path, "diagnose", "run", "--lang", "pt-BR", "--json", "d.json")
    assert again.returncode == 0
    assert again.stdout.strip() in ended.stderr
    document = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert document["verdict"] == "healthy"  # names stay what programs read
    assert document["summary"] == "A rede aprende, e o gradiente chega a todas as camadas."


def test_a_run_recorded_under_english_is_diagnosed_in_portuguese(tmp_path):
    trained(True).save(tmp_path / "run")
    english = command(tmp_path, "diagnose", "run")
    assert english.stdout.startswith("VANISHING GRADIENT")
    ended = command(tmp_path, "diagnose", "run", "--lang", "pt-BR")
    assert ended.stdout.startswith("FUGA DE GRADIENTE")
    assert leaks(ended.stdout) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--lang", "pt-BR", "absent.py"), "mas veio 'absent.py', que não existe."),
        (("run", "--lang", "pt-BR", "--every", "0", "x.py"), "Escreva --every 10"),
        (("diagnose", "--lang", "pt-BR", "absent"), "esperava-se a pasta de uma execução"),
        (("diagnose", "--lang", "pt-BR", "--fail-on", "x", "."), "Escreva --fail-on serious."),
    ],
)
def test_a_wrong_command_is_answered_in_portuguese(tmp_path, words, said):
    ended = command(tmp_path, *words)
    assert ended.returncode == 2
    assert ended.stderr.startswith("gradfuga: error: esperava")
    assert said in ended.stderr
    assert leaks(ended.stderr) == []

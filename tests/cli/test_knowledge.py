"""`gradfuga rules` and `gradfuga explain` over the real catalogue and over a known one."""

import pkgutil

import pytest

import gradfuga.remedies
import gradfuga.rules
from gradfuga import cli
from gradfuga.cli import _knowledge
from gradfuga.cli._knowledge import Entry, entries

KNOWN = {
    "GRD001": Entry(
        "GRD001",
        "vanishing-gradient",
        "symptom",
        "Find layers that [starve].\n\nWhat it finds\n-------------\nA gradient that is *small*.",
    ),
    "ACT001": Entry("ACT001", "saturated-activation", "cause", "Find units in the flat part."),
    "RX001": Entry("RX001", "swap-activation", "remedy", "Swap the activation."),
}


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(_knowledge, "entries", lambda: KNOWN)


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["gradfuga", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


def items(package):
    return [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]


def test_every_file_of_the_catalogue_is_listed_once(command):
    code, out, _ = command("rules")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:3] == ["code", "name", "role"]
    assert len(lines) - 1 == len(items(gradfuga.rules)) + len(items(gradfuga.remedies))
    assert [line.split()[0] for line in lines[1:]] == list(entries())


def test_every_item_of_the_catalogue_has_a_text_and_can_be_explained(command):
    for entry in entries().values():
        assert entry.line, entry.code
        code, out, _ = command("explain", entry.code)
        assert code == 0
        assert out.startswith(f"{entry.code} {entry.name} ({entry.role})\n")
        assert entry.text in out


def test_rules_are_one_line_each_where_a_program_reads_them(command, known):
    code, out, _ = command("rules")
    assert code == 0
    assert [line.rstrip().split(maxsplit=3) for line in out.splitlines()][1:] == [
        ["GRD001", "vanishing-gradient", "symptom", "Find layers that [starve]."],
        ["ACT001", "saturated-activation", "cause", "Find units in the flat part."],
        ["RX001", "swap-activation", "remedy", "Swap the activation."],
    ]


@pytest.mark.parametrize("word", ["GRD001", "grd001", "vanishing-gradient", " Vanishing-Gradient"])
def test_explain_takes_a_code_or_a_name_in_any_case(command, known, word):
    code, out, err = command("explain", word)
    assert (code, err) == (0, "")
    assert out == f"GRD001 vanishing-gradient (symptom)\n\n{KNOWN['GRD001'].text}\n"


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("GRD002", "GRD001 (vanishing-gradient)"),
        ("saturated", "ACT001 (saturated-activation)"),
        ("zzz", "See them all with: gradfuga rules."),
    ],
)
def test_an_unknown_code_is_answered_with_the_nearest(command, known, word, near):
    code, out, err = command("explain", word)
    assert (code, out) == (2, "")
    assert err.startswith("gradfuga: error: expected the code or name")
    assert f"got '{word}'" in err
    assert near in err

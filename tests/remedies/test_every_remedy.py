"""Every remedy on a training that has its illness: the rule that it treats stops firing.

One row a remedy: a sick script, the rule that fires on it, the remedy's own edits for its own
diagnosis, made on the model in memory and in the source. Advice is followed by hand.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache

import pytest
import torch

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRemedy
from gradfuga._diagnose import diagnose
from gradfuga._edits import Edit, Safety
from gradfuga._observe import observe
from gradfuga._torch.transplant import Transplant
from gradfuga._types import Diagnosis, Verdict
from gradfuga.patch.source import patch_source
from remedies.sick_scripts import SCRIPTS

REMEDIES = {
    remedy.code: remedy
    for remedy in collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy).values()
}


@dataclass(frozen=True, slots=True)
class Row:
    """What one remedy must do.

    Attributes:
        remedy: its code.
        script: name of the sick script.
        rule: the code that fires on it and must not fire any more.
        by_hand: for advice, what is written in place of what.
        lag: steps back that the user states.
    """

    remedy: str
    script: str
    rule: str
    by_hand: tuple[str, str] | None = None
    lag: int | None = None

    def __str__(self) -> str:
        return f"{self.remedy}-{self.script.replace(' ', '_')}"


ROWS = (
    # over depth
    Row("RX001", "sigmoid", "ACT001"),
    Row("RX002", "relu", "INI001"),
    Row("RX002", "large relu", "INI002"),
    Row("RX003", "tanh", "INI001"),
    Row("RX004", "sigmoid", "ACT001"),
    Row("RX004", "relu", "INI001"),
    Row("RX004", "raw inputs", "ACT002"),
    Row("RX004", "silu", "NRM001"),
    Row("RX005", "silu", "NRM001"),
    Row("RX005", "relu", "INI001"),
    Row("RX006", "residual", "RES002"),
    Row("RX007", "relu", "INI001"),
    Row("RX007", "sigmoid", "ACT001"),
    Row("RX013", "raw inputs", "ACT002"),
    Row("RX013", "raw inputs, high rate", "OPT001"),
    Row("RX018", "embedding", "INI003"),
    Row("RX040", "sigmoid", "ACT001"),
    Row("RX041", "sigmoid", "ACT001"),
    Row("RX042", "sigmoid", "ACT001"),
    Row("RX043", "sigmoid", "ACT001"),
    Row("RX044", "relu", "INI001"),
    Row("RX044", "large tanh", "INI002"),
    Row("RX045", "sigmoid", "ACT001"),
    Row("RX045", "raw inputs", "ACT002"),
    Row("RX046", "silu", "NRM001"),
    Row("RX046", "tanh", "INI001"),
    Row("RX047", "silu", "NRM001"),
    Row("RX047", "tanh", "INI001"),
    Row("RX048", "residual", "RES002"),
    Row("RX049", "sigmoid", "ACT001"),
    Row("RX049", "relu", "INI001"),
    Row("RX050", "transformer", "INI001"),
    Row("RX051", "transformer", "INI001"),
    Row("RX057", "tanh", "INI001"),
    Row("RX058", "tanh", "INI001"),
    Row("RX060", "mild tanh", "GRD005"),  # the starved layers, not their cause
    # units
    Row("RX011", "dead", "ACT004"),
    Row("RX012", "flat output", "ACT003"),
    Row("RX012", "double softmax", "ACT006"),
    Row("RX042", "dead", "ACT004"),
    Row("RX059", "dead", "ACT004"),
    Row("RX063", "dead", "ACT004"),
    # the steps
    Row("RX008", "high rate", "OPT001"),
    Row("RX008", "large relu", "GRD003"),
    Row("RX008", "residual", "GRD003"),
    Row("RX009", "high rate", "OPT001"),
    Row("RX009", "high rate, Adam", "OPT001"),
    Row("RX010", "low rate", "OPT002"),
    Row("RX014", "not zeroed", "OPT004"),
    Row("RX014", "wiped", "FLW005"),
    Row("RX015", "frozen", "FLW002"),
    Row("RX017", "decay", "OPT003"),
    Row("RX020", "clipped", "OPT005"),
    Row("RX021", "epsilon", "OPT006"),
    Row("RX023", "half", "NUM001"),
    Row("RX024", "bfloat16", "NUM002"),
    Row("RX028", "faded rate", "OPT008"),
    Row("RX052", "high rate", "OPT001"),
    Row("RX053", "high rate", "OPT001"),
    Row("RX053", "large relu", "GRD003"),
    Row("RX054", "high rate", "OPT001"),
    Row("RX054", "residual", "GRD003"),
    Row("RX055", "high rate", "OPT001"),
    Row("RX061", "half", "NUM001"),
    # over time
    Row("RX030", "near recall, LSTM", "REC005"),
    Row("RX031", "recall, LSTM", "REC005"),
    Row("RX032", "near recall, RNN", "REC003"),
    Row("RX032", "expanding", "REC004"),
    Row("RX036", "expanding", "REC004"),
    Row("RX033", "recall, RNN", "REC003"),
    Row("RX064", "deep lstm", "ACT001"),
)
ADVICE = (
    Row("RX016", "large targets", "FLW004", by_hand=(
        "\nmodel =", "\ny = (y - y.mean(0)) / y.std(0)\nmodel ="
    )),
    Row("RX019", "attention", "ACT005", by_hand=(
        "q, k, v = self.query(x), self.key(x), self.value(x)\n",
        "q, k, v = self.query(x), self.key(x), self.value(x)\n"
        "        q, k = F.layer_norm(q, (16,)), F.layer_norm(k, (16,)) / 4\n",
    )),
    Row("RX022", "broken inputs", "FLW003", by_hand=("\nmodel =", "\nx = x.nan_to_num()\nmodel =")),
    Row("RX065", "reversed loss", "FLW007", by_hand=("loss = -F.", "loss = F.")),
    Row("RX025", "scaler", "NUM003", by_hand=("square().sum(1))", "square().sum(1) + 1e-6)")),
    Row("RX026", "spike", "OPT007", by_hand=("optim.Adagrad(", "optim.Adam(")),
    Row("RX027", "faded rate", "OPT008", by_hand=("optimizer, 0.5)", "optimizer, 0.99)")),
    Row("RX034", "truncated", "REC006", lag=30, by_hand=("8):", "40):")),
    Row("RX035", "recall, RNN", "REC003", by_hand=("states[:, -1]", "states.mean(1)")),
    Row("RX035", "recall, LSTM", "REC005", by_hand=("states[:, -1]", "states.mean(1)")),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(text: str) -> dict[str, object]:
    """Run a script of ours."""
    scope: dict[str, object] = {"__name__": "__main__"}
    exec(compile(text, "train.py", "exec"), scope)  # noqa: S102 (programs of our own)
    return scope


@cache
def observed(
    text: str, edits: tuple[Edit, ...] = (), model: str = "", lag: int | None = None
) -> Diagnosis:
    """Run a script observed, with edits made on the model when its optimizer is built."""
    with Transplant(edits, model=model) as transplant, observe() as observer:
        run(text)
    left = [(edit.kind, why) for operation in transplant.operations for edit, why in operation.left]
    assert not left, left
    return diagnose(observer.trainings, lag=lag)


def sick(row: Row) -> Diagnosis:
    """Return the diagnosis of a row's script, which its rule is part of."""
    diagnosis = observed(SCRIPTS[row.script], lag=row.lag)
    assert row.rule in codes(diagnosis), diagnosis.summary
    assert diagnosis.verdict not in (Verdict.HEALTHY, Verdict.INCONCLUSIVE)
    return diagnosis


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings]


def edits_for(row: Row) -> tuple[Edit, ...]:
    found = tuple(REMEDIES[row.remedy].prescribe(sick(row)))
    assert found
    return found


def is_cured(row: Row, text: str, edits: tuple[Edit, ...] = (), model: str = "") -> None:
    """Assert that the rule is silent."""
    diagnosis = observed(text, edits, model, row.lag)
    assert row.rule not in codes(diagnosis), diagnosis.summary


def test_every_remedy_has_a_row_and_advice_is_counted():
    acting, told = {row.remedy for row in ROWS}, {row.remedy for row in ADVICE}
    assert acting | told == set(REMEDIES)
    advised = {code for code, remedy in REMEDIES.items() if remedy.safety is Safety.ADVICE}
    assert told - acting == advised
    assert len(advised) == 9


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_rule_that_a_remedy_treats_stops_firing(row):
    is_cured(row, SCRIPTS[row.script], edits_for(row), sick(row).model)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_in_the_users_source_by_a_diff_that_git_applies(row, tmp_path):
    text, edits = SCRIPTS[row.script], edits_for(row)
    patch = patch_source(text, "train.py", edits)
    assert not patch.unplaced
    (tmp_path / "train.py").write_text(text, "utf-8")
    for command in (["git", "init", "-q"], ["git", "apply", "-"]):
        subprocess.run(command, cwd=tmp_path, input=patch.diff, text=True, check=True)
    patched = (tmp_path / "train.py").read_text("utf-8")
    assert patched == patch.source != text
    is_cured(row, patched)


SAFE = {row.remedy: row for row in ROWS if REMEDIES[row.remedy].safety is Safety.SAFE}


@pytest.mark.parametrize("row", SAFE.values(), ids=str)
def test_a_safe_remedy_leaves_the_outputs_as_they_are(row):
    start = re.sub(r"range\(\d+\):\n    (?=pick|tokens)", "range(0):\n    ", SCRIPTS[row.script])
    assert start != SCRIPTS[row.script]
    edits = edits_for(row)
    assert all(edit.safety is Safety.SAFE for edit in edits)
    with torch.no_grad():
        before = run(start)
        with Transplant(edits, model=sick(row).model) as transplant:
            after = run(start)
    assert transplant.operations
    same = before["model"](before["x"]), after["model"](after["x"])
    assert torch.allclose(*same, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("row", ADVICE, ids=str)
def test_advice_that_is_followed_by_hand_silences_the_rule(row):
    assert all(edit.safety is Safety.ADVICE for edit in edits_for(row))
    assert row.by_hand is not None
    text = SCRIPTS[row.script].replace(*row.by_hand)
    assert text != SCRIPTS[row.script]
    is_cured(row, text)

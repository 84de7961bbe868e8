"""What holds for every statistic of the folder."""

import ast
from pathlib import Path

import pytest

import gradfuga.stats
from gradfuga._catalog import collect
from gradfuga._contracts import AbstractStatistic

STATISTICS = collect("gradfuga.stats", "STATISTIC", of=AbstractStatistic)
FILES = sorted(Path(gradfuga.stats.__path__[0]).glob("*.py"))


def test_every_family_is_found():
    assert set(STATISTICS) == {
        "embedding",
        "fused_attention",
        "input_signal",
        "normalization",
        "slope",
        "softmax",
        "underflow",
        "weight_scale",
    }


@pytest.mark.parametrize("code", STATISTICS)
def test_nodes_are_named_without_autograds_suffix(code):
    assert STATISTICS[code].nodes
    assert not [name for name in STATISTICS[code].nodes if "Backward" in name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_imports_torch_at_run_time(path):
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node)
    ]
    exempt = {id(inner) for block in typing_only for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in exempt:
            names = [alias.name for alias in node.names]
            modules = [getattr(node, "module", None) or "", *names]
            assert not [name for name in modules if name.split(".")[0] == "torch"]


@pytest.mark.parametrize(
    "path", [path for path in FILES if not path.name.startswith("_")], ids=lambda path: path.name
)
def test_the_statistic_is_the_last_line(path):
    assert path.read_text("utf-8").splitlines()[-1].startswith("STATISTIC = ")

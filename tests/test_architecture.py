"""Holds the laws of the house: docs/architecture.md draws what is checked here."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gradfuga
from _imports import PACKAGE, ROOT, Import, imports_of, module_files, resolve

MODULES = module_files()
IMPORTS: tuple[Import, ...] = tuple(
    each
    for name, path in MODULES.items()
    for each in imports_of(name, path.read_text("utf-8"), is_package=path.name == "__init__.py")
)

# From the ground up. A module imports from its own floor or from lower ones.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("_errors", "_messages", "theory"),
    ("_edits", "_sentences", "_types", "flow", "readings", "experiment", "_contracts", "_catalog"),
    ("analysis",),
    ("stats", "rules", "remedies", "sinks"),
    ("_torch", "patch"),
    ("_observe", "_diagnose", "_prescribe", "_repair", "_trial"),
    ("report", "integrations"),
    ("cli", "__main__"),
)
FLOOR_OF = {name: level for level, names in enumerate(FLOORS) for name in names}

# One constant a file, as the last statement.
ITEMS = {"stats": "STATISTIC", "rules": "RULE", "remedies": "REMEDY", "sinks": "SINK"}
HEADINGS = {
    "rules": (
        "What it finds",
        "Why it matters",
        "Evidence",
        "Known limits",
        "References",
    ),
    "remedies": (
        "What it changes",
        "Why it helps",
        "Safety",
        "Known limits",
        "References",
    ),
}

TORCH_WALL = ("_torch", "_observe", "_repair", "integrations")
# The contracts name what they pass, torch tensors and the case among them; the names never run.
NAMES_TORCH = ("stats", "_contracts")
NAMES_UPWARD = ("_contracts",)

LONGEST = 400
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def room(module: str) -> str:
    """Return the file or folder directly under gradfuga that `module` lies in."""
    return module.split(".")[1] if "." in module else "__init__"


def item_files(folder: str) -> list[Path]:
    return [path for path in sorted((PACKAGE / folder).glob("*.py")) if path.name[0] != "_"]


ITEM_FILES = [
    pytest.param(folder, path, id=f"{folder}/{path.stem}")
    for folder in ITEMS
    for path in item_files(folder)
]


def test_every_room_stands_on_a_floor():
    rooms = {room(name) for name in MODULES} - {"__init__"}
    assert rooms <= set(FLOOR_OF), f"give these a floor: {rooms - set(FLOOR_OF)}"


def test_no_import_goes_up():
    wrong = []
    for each in IMPORTS:
        target = resolve(each.target, MODULES)
        importer = room(each.importer)
        if target is None or importer == "__init__":
            continue
        if not each.runs and importer in NAMES_UPWARD:
            continue
        if room(target) == "__init__" or FLOOR_OF[room(target)] > FLOOR_OF[importer]:
            wrong.append(f"{each.importer} imports {each.target}")
    assert not wrong


def test_no_imports_run_in_a_circle():
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in IMPORTS:
        target = resolve(each.target, MODULES)
        # `from . import x` inside a folder names the folder; that it was imported is no circle
        if each.runs and target is not None and not f"{each.importer}.".startswith(f"{target}."):
            graph[each.importer].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_items_import_no_items():
    wrong = []
    for each in IMPORTS:
        target = resolve(each.target, MODULES)
        if target is None or room(each.importer) not in ITEMS or room(target) not in ITEMS:
            continue
        private = target.rpartition(".")[2].startswith("_")
        if room(target) != room(each.importer) or not private:
            wrong.append(f"{each.importer} imports {each.target}")
    assert not wrong


def test_torch_stays_behind_the_wall():
    wrong = []
    for each in IMPORTS:
        importer = room(each.importer)
        if each.target.split(".")[0] != "torch" or importer in TORCH_WALL:
            continue
        if each.runs or importer not in NAMES_TORCH:
            wrong.append(f"{each.importer} imports {each.target}")
    assert not wrong


def test_nobody_imports_an_integration():
    wrong = [
        f"{each.importer} imports {each.target}"
        for each in IMPORTS
        if each.target.startswith("gradfuga.integrations.")
        and room(each.importer) != "integrations"
    ]
    assert not wrong


def test_the_command_line_is_there_without_torch_and_pyarrow():
    heavy = "{'torch', 'pyarrow', 'bokeh', 'scipy'}"
    code = f"import sys, gradfuga, gradfuga.cli; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_file_is_longer_than_the_wall(folder):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}


def test_every_module_says_its_job_in_the_first_line():
    silent = [
        name
        for name, path in MODULES.items()
        if not (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").strip()
    ]
    assert not silent


def test_no_file_is_named_after_nothing():
    assert not {name for name in MODULES if name.rpartition(".")[2].strip("_") in NAMELESS}


def doorway():
    """Return the names that the doorway gives at once, those it gives lazily, and that table."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    at_once, lazily, table = [], [], {}
    for node in tree.body:
        match node:
            case ast.ImportFrom(level=1):
                at_once += node.names
            case ast.If():
                lazily += [alias for each in node.body for alias in each.names]
            case ast.Assign() if ast.unparse(node.targets[0]) == "_LAZY":
                table = ast.literal_eval(node.value)
    return at_once, lazily, table


def test_the_doorway_says_that_its_names_are_public():
    at_once, lazily, _ = doorway()
    assert at_once
    assert all(alias.asname == alias.name for alias in [*at_once, *lazily])


def test_the_doorway_holds_its_lazy_names_in_order_and_twice():
    _, lazily, table = doorway()
    assert list(table) == sorted(table)
    assert sorted(alias.name for alias in lazily) == list(table)


def test_every_name_of_the_doorway_opens():
    at_once, _, table = doorway()
    for name in [*(alias.name for alias in at_once), *table]:
        assert getattr(gradfuga, name).__name__ == name
        assert name in dir(gradfuga)


@pytest.mark.parametrize(("folder", "path"), ITEM_FILES)
def test_an_item_file_ends_with_its_constant(folder, path):
    last = ast.parse(path.read_text("utf-8")).body[-1]
    targets = {ast.Assign: lambda n: n.targets, ast.AnnAssign: lambda n: [n.target]}
    names = [ast.unparse(t) for t in targets.get(type(last), lambda _: [])(last)]
    assert names == [ITEMS[folder]]


@pytest.mark.parametrize(
    ("folder", "path"), [case for case in ITEM_FILES if case.values[0] in HEADINGS]
)
def test_the_docstring_of_an_item_has_the_headings_that_explain_prints(folder, path):
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    lines = [line.strip().strip("#*: ") for line in text.splitlines()]
    found = [line for line in lines if line in HEADINGS[folder]]
    assert tuple(found) == HEADINGS[folder]


def test_the_drawing_of_the_house_shows_every_room():
    drawing = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = {room(name) for name in MODULES} - {"__init__"}
    assert not {each for each in rooms if not re.search(rf"\b{each}\b", drawing)}


# The reader of imports must see what it is asked to forbid.


def read(source, *, module="gradfuga.rules.one", is_package=False):
    return [(i.target, i.runs) for i in imports_of(module, source, is_package=is_package)]


def test_the_reader_resolves_relative_imports():
    assert read("from .._types import Finding") == [("gradfuga._types.Finding", True)]
    assert read("from . import other") == [("gradfuga.rules.other", True)]
    assert read("from .x import y", module="gradfuga.rules", is_package=True) == [
        ("gradfuga.rules.x.y", True)
    ]


def test_the_reader_sees_lazy_and_dynamic_imports():
    assert read("def f():\n    import torch.nn") == [("torch.nn", True)]
    assert read("x = importlib.import_module('torch')") == [("torch", True)]


def test_the_reader_tells_names_for_the_type_checker_apart():
    source = "if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy"
    assert read(source) == [("torch", False), ("numpy", True)]


def test_a_name_resolves_to_the_module_that_holds_it():
    modules = {"gradfuga": Path(), "gradfuga.flow": Path()}
    assert resolve("gradfuga.flow.FlowGraph", modules) == "gradfuga.flow"
    assert resolve("torch.nn", modules) is None

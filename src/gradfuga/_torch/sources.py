"""Find the user's own source line of an op, and of the module that owns it."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sysconfig
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch.autograd.graph import Node

from .._types import SourceLine

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in ')
_TORCH = str(Path(torch.__file__).parent) + os.sep  # not torchvision
_OURS = str(Path(__file__).parents[1]) + os.sep
_STDLIB = sysconfig.get_paths()["stdlib"]
# In a container's forward the user's line is only the call of the container, under Keras that of
# `fit`: where the module was built says more.
_CONTAINER = str(Path(_TORCH) / "nn" / "modules" / "container.py")
_KERAS = f"{os.sep}keras{os.sep}src{os.sep}"


def line_of(node: Node) -> tuple[SourceLine | None, bool]:
    """Return the innermost line of the user's program that ran the op.

    Reads the traceback that anomaly mode stored in the forward pass. The flag says that the op
    ran inside a container (`nn.Sequential`), so that the line is only the container's call.
    """
    best: SourceLine | None = None
    library: SourceLine | None = None
    in_container = False
    for entry in _metadata(node).get("traceback_", ()):
        match = _FRAME.match(entry)
        if match is None:
            continue
        file, line = match["file"], int(match["line"])
        if file.startswith(_CONTAINER) or _KERAS in file:
            in_container = True
        if file.startswith((_TORCH, _OURS)) or file.startswith("<frozen"):
            continue
        found = SourceLine(file, line, linecache.getline(file, line).strip())
        if "site-packages" in file or "dist-packages" in file:
            library = found
        elif not file.startswith(_STDLIB):
            best, in_container = found, False
    return best or library, in_container


def _metadata(node: Node) -> dict[str, list[str]]:
    return node.metadata  # type: ignore[return-value]  # torch's hint takes the property for a method


@dataclass(frozen=True, slots=True)
class Building:
    """One call in the user's file: the class called, and the names it is assigned to.

    `place` is its position among the arguments of an enclosing container, None outside of one;
    `name` the fixed start of its argument `name`, as Keras names layers, "" where there is none.
    """

    called: str
    line: int
    targets: frozenset[str]
    place: int | None
    name: str


def built_at(module_type: str, path: str, files: tuple[str, ...]) -> SourceLine | None:
    """Return the line in the user's `files` that built the module at `path`.

    The call of the class `module_type` whose argument `name` fits counts most, the longest one,
    then one that is assigned to a part of the path, then its place in a container. Where nothing
    tells several calls of the class apart, there is no such line.
    """
    parts = re.split("[./]", path)
    numbers = {int(part) for part in parts if part.isdigit()}
    calls = [(file, each) for file in files for each in _buildings(file)]
    scored = [
        (_score(building, parts, numbers), file, building.line)
        for file, building in calls
        if building.called == module_type and parts[-1].startswith(building.name)
    ]
    best = max((score for score, _, _ in scored), default=0)
    found = [(file, line) for score, file, line in scored if score == best]
    if not found or (best == 0 and len(set(found)) > 1):
        return None
    file, line = found[0]
    return SourceLine(file, line, linecache.getline(file, line).strip())


def _score(building: Building, parts: Sequence[str], numbers: Collection[int]) -> int:
    assigned = bool(building.targets.intersection(parts))
    return 8 * len(building.name) + 4 * assigned + 2 * (building.place in numbers)


@lru_cache(maxsize=64)
def _buildings(file: str) -> tuple[Building, ...]:
    """Return every call in `file`, in the order of its lines."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ()
    found: list[Building] = []
    _collect(tree, frozenset(), None, found)
    return tuple(sorted(found, key=lambda building: building.line))


def _collect(
    node: ast.AST, targets: frozenset[str], place: int | None, found: list[Building]
) -> None:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        given = node.targets if isinstance(node, ast.Assign) else [node.target]
        targets = frozenset(name for each in given if (name := _last_name(each)))
    if isinstance(node, ast.Call):
        name = _last_name(node.func)
        if name:
            found.append(Building(name, node.lineno, targets, place, _given_name(node)))
        for number, argument in enumerate(node.args):
            _collect(argument, targets, number, found)
        for keyword in node.keywords:
            _collect(keyword.value, targets, None, found)
        _collect(node.func, targets, None, found)
        return
    for child in ast.iter_child_nodes(node):
        _collect(child, targets, place, found)


def _given_name(call: ast.Call) -> str:
    """Return what the argument `name` begins with: all of a string, an f-string's first words."""
    for keyword in call.keywords:
        given = keyword.value
        if keyword.arg == "name" and isinstance(given, ast.JoinedStr) and given.values:
            given = given.values[0]
        if keyword.arg == "name" and isinstance(given, ast.Constant):
            return str(given.value)
    return ""


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""

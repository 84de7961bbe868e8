"""Find the user's own source line of an op, and of the module that owns it."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sysconfig
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

    `place` is its position among the arguments of an enclosing container, None outside of one.
    """

    called: str
    line: int
    targets: frozenset[str]
    place: int | None


def built_at(module_type: str, path: str, files: tuple[str, ...]) -> SourceLine | None:
    """Return the line in the user's `files` that built the module at `path`.

    The call of the class `module_type` that is assigned to a part of the path counts most, then
    its place in a container, then the first call of the class at all.
    """
    parts = path.split(".")
    numbers = {int(part) for part in parts if part.isdigit()}
    best: tuple[int, SourceLine] | None = None
    for file in files:
        for building in _buildings(file):
            if building.called != module_type:
                continue
            score = 4 * bool(building.targets & set(parts)) + 2 * (building.place in numbers)
            line = SourceLine(file, building.line, linecache.getline(file, building.line).strip())
            if best is None or score > best[0]:
                best = (score, line)
    return best[1] if best is not None else None


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
            found.append(Building(name, node.lineno, targets, place))
        for number, argument in enumerate(node.args):
            _collect(argument, targets, number, found)
        for keyword in node.keywords:
            _collect(keyword.value, targets, None, found)
        _collect(node.func, targets, None, found)
        return
    for child in ast.iter_child_nodes(node):
        _collect(child, targets, place, found)


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""

"""Find the user's own source line of an op, and of the module that owns it."""

from __future__ import annotations

import ast
import linecache
import re
import sysconfig
from functools import lru_cache
from pathlib import Path

import torch
from torch.autograd.graph import Node

from .._types import SourceLine

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in ')
_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parents[1])
_STDLIB = sysconfig.get_paths()["stdlib"]
# In a container's forward the user's line is only the call of the container: where the module
# was built says more.
_CONTAINER = str(Path(_TORCH) / "nn" / "modules" / "container.py")


def line_of(node: Node) -> tuple[SourceLine | None, bool]:
    """Return the innermost line of the user's program that ran the op.

    Reads the traceback that anomaly mode stored in the forward pass. The flag says that the op
    ran inside a container (`nn.Sequential`), so that the line is only the container's call.
    """
    best: SourceLine | None = None
    library: SourceLine | None = None
    in_container = False
    for entry in node.metadata.get("traceback_", ()):
        match = _FRAME.match(entry)
        if match is None:
            continue
        file, line = match["file"], int(match["line"])
        if file.startswith(_CONTAINER):
            in_container = True
        if file.startswith((_TORCH, _OURS)) or file.startswith("<frozen"):
            continue
        found = SourceLine(file, line, linecache.getline(file, line).strip())
        if "site-packages" in file or "dist-packages" in file:
            library = found
        elif not file.startswith(_STDLIB):
            best, in_container = found, False
    return best or library, in_container


@lru_cache(maxsize=64)
def _calls(file: str) -> dict[str, tuple[int, ...]]:
    """Return the lines on which each name is called in `file`, by the name's last part."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, list[int]] = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.Call):
            called = each.func
            name = called.attr if isinstance(called, ast.Attribute) else None
            name = called.id if isinstance(called, ast.Name) else name
            if name is not None:
                found.setdefault(name, []).append(each.lineno)
    return {name: tuple(sorted(set(lines))) for name, lines in found.items()}


def built_at(module_type: str, files: tuple[str, ...]) -> SourceLine | None:
    """Return the first line in the user's `files` that calls the class `module_type`."""
    for file in files:
        lines = _calls(file).get(module_type, ())
        if lines:
            return SourceLine(file, lines[0], linecache.getline(file, lines[0]).strip())
    return None

"""Reads the imports of the package without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gradfuga"


@dataclass(frozen=True)
class Import:
    """One import statement's target; `runs` is False under ``if TYPE_CHECKING``."""

    importer: str
    target: str
    runs: bool


def module_files() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, source: str, *, is_package: bool) -> Iterator[Import]:
    """Yield what `source` imports, lazily or not, as dotted names.

    ``from .a import b`` is yielded as ``package.a.b``; whether ``b`` is a module or a name in one
    is for the reader to tell, see `resolve`.
    """
    yield from _walk(ast.parse(source), module, is_package, runs=True)


def _walk(node: ast.AST, module: str, is_package: bool, *, runs: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield from _walk(ast.Module([statement], []), module, is_package, runs=False)
            for statement in child.orelse:
                yield from _walk(ast.Module([statement], []), module, is_package, runs=runs)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, alias.name, runs)
        elif isinstance(child, ast.ImportFrom):
            base = _base(module, child, is_package)
            for alias in child.names:
                yield Import(module, f"{base}.{alias.name}", runs)
        elif (dynamic := _dynamic(child)) is not None:
            yield Import(module, dynamic, runs)
            yield from _walk(child, module, is_package, runs=runs)
        else:
            yield from _walk(child, module, is_package, runs=runs)


def _base(module: str, node: ast.ImportFrom, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    keep = len(parts) - node.level + is_package
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _dynamic(node: ast.AST) -> str | None:
    """Return the target of ``importlib.import_module("a.b")``, None for anything else."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    first = node.args[0]
    if name == "import_module" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def resolve(target: str, modules: dict[str, Path]) -> str | None:
    """Return the module of ours that `target` lies in, None for a foreign one."""
    while target:
        if target in modules:
            return target
        target = target.rpartition(".")[0]
    return None

"""Read how a file puts layers in a row: by number, as blocks, the output's one last."""

from __future__ import annotations

import libcst as cst

from ._names import called, code, last_name

_CONTAINERS = ("Sequential", "Residual")
_GROWING = ("append", "extend", "insert", "add_module")


def numbered(module: cst.Module) -> bool:
    """Whether the file takes parts of a row of layers by their numbers: ``layers[:-1]``.

    Parts that come between, or that are joined, would give the others another number.
    """
    found = _Numbers()
    module.visit(found)
    return bool(found.rows & found.taken)


class _Numbers(cst.CSTVisitor):
    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.taken: set[str] = set()

    def visit_Assign(self, node: cst.Assign) -> None:
        if isinstance(node.value, cst.List) or called(node.value) in _CONTAINERS:
            self._row(node.targets[0].target, node.value)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._row(node.target, node.value)

    def visit_Call(self, node: cst.Call) -> None:
        if isinstance(node.func, cst.Attribute):
            name = node.func.attr.value
            if name in _GROWING:
                for each in node.args:
                    self._row(node.func.value, each.value)
            elif name == "pop":
                self.taken.add(code(node.func.value))

    def visit_Subscript(self, node: cst.Subscript) -> None:
        self.taken.add(code(node.value))

    def _row(self, name: cst.BaseExpression, parts: cst.BaseExpression) -> None:
        """Note a row where its parts are built: by a class, or by a function of the file."""
        built = _Built()
        parts.visit(built)
        if built.found:
            self.rows.add(code(name))


class _Built(cst.CSTVisitor):
    def __init__(self) -> None:
        self.found = False

    def visit_Call(self, node: cst.Call) -> None:
        of_the_file = isinstance(node.func, cst.Name) and node.func.value not in ("float", "int")
        self.found = self.found or of_the_file or last_name(node.func)[:1].isupper()


def blocks(module: cst.Module) -> frozenset[str]:
    """Return the functions that build a part of a row: ``nn.Sequential(block(1, 2), ...)``."""
    found = _Blocks()
    module.visit(found)
    return frozenset(found.names)


class _Blocks(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def _part(self, node: cst.BaseExpression) -> None:
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
            self.names.add(node.func.value)

    def visit_Call(self, node: cst.Call) -> None:
        if last_name(node.func) in (*_CONTAINERS, *_GROWING, "ModuleList"):
            for each in node.args:
                self._part(each.value)

    def visit_List(self, node: cst.List) -> None:
        for each in node.elements:
            self._part(each.value)

    def visit_ListComp(self, node: cst.ListComp) -> None:
        self._part(node.elt)

    def visit_GeneratorExp(self, node: cst.GeneratorExp) -> None:
        self._part(node.elt)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._part(node.value)


def outputs(module: cst.Module, paths: tuple[str, ...]) -> list[cst.Call]:
    """Return the Sequentials of a file whose last part is the output's, or may be it.

    Not those that are a part of a row themselves, nor one of which `paths`, those of hidden
    layers and activations, name the last part.
    """
    found = _Outputs(blocks(module), paths)
    module.visit(found)
    return found.calls


class _Outputs(cst.CSTVisitor):
    def __init__(self, blocks: frozenset[str], paths: tuple[str, ...]) -> None:
        self.blocks = blocks
        self.paths = frozenset(path.partition("#")[0] for path in paths)
        self.calls: list[cst.Call] = []
        self._inner: set[cst.CSTNode] = set()
        self._names: dict[cst.CSTNode, str] = {}
        self._open: list[str] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._open.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._open.pop()

    def visit_Assign(self, node: cst.Assign) -> None:
        target = node.targets[0].target
        own = isinstance(target, cst.Attribute) and code(target.value) == "self"
        self._names[node.value] = f"{last_name(target)}." if own else ""

    def visit_Call(self, node: cst.Call) -> None:
        name = last_name(node.func)
        if name in (*_CONTAINERS, *_GROWING, "ModuleList"):
            last = node.args[-1].value if node.args and name in _CONTAINERS else None
            # the last part of the output's own row is the output's
            inside = [
                each.value for each in node.args if each.value is not last or self._is_part(node)
            ]
            self._inner.update(inside)
        if name in _CONTAINERS and not self._is_part(node):
            self.calls.append(node)

    def visit_List(self, node: cst.List) -> None:
        self._inner.update(each.value for each in node.elements)

    def visit_ListComp(self, node: cst.ListComp) -> None:
        self._inner.add(node.elt)

    def visit_GeneratorExp(self, node: cst.GeneratorExp) -> None:
        self._inner.add(node.elt)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._inner.add(node.value)

    def _is_part(self, node: cst.Call) -> bool:
        if node in self._inner or (self._open and self._open[-1] in self.blocks):
            return True
        name = self._names.get(node)
        if name is None or any(each.star for each in node.args):
            return False
        tail = f"{name}{len(node.args) - 1}"
        return any(path == tail or path.endswith(f".{tail}") for path in self.paths)

"""Swap activations in source: constructors, references, function calls, names in a config."""

from __future__ import annotations

import re
from collections.abc import Collection

import libcst as cst
from libcst.metadata import PositionProvider

from .._edits import SwapActivation
from ._names import ACTIVATION_OF, CLASS_OF, IN_TORCH, last_name, stem
from ._rows import outputs

_SETTING = re.compile(r"act|nonlin", re.IGNORECASE)  # what people call the choice of an activation
HELPER = '''
class {name}(nn.Module):
    """{phi}, stretched and shifted to unit slope and unit size for inputs of unit variance."""

    def forward(self, z):
        return {stretch:.4f} * torch.{phi}(z) {sign} {shift:.4f}
'''


def kinds_of(edit: SwapActivation, module: cst.Module) -> frozenset[str]:
    """Return which activations the edit takes away: named, or the only ones in the file."""
    if edit.of:
        return frozenset({edit.of})
    called = {p.partition("#")[0].rpartition("/")[2] for p in edit.paths} & CLASS_OF.keys()
    if called:
        return frozenset(called)
    found = _Found()
    module.visit(found)
    return frozenset(found.kinds - {edit.to}) if len(found.kinds - {edit.to}) == 1 else frozenset()


class _Found(cst.CSTVisitor):
    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def visit_Attribute(self, node: cst.Attribute) -> None:
        name = node.attr.value
        if name in ACTIVATION_OF:
            self.kinds.add(ACTIVATION_OF[name])
        elif name in CLASS_OF:
            self.kinds.add(name)


class _Tables(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Dict(self, node: cst.Dict) -> None:
        keys = [
            str(element.key.evaluated_value)
            for element in node.elements
            if isinstance(element, cst.DictElement)
            and isinstance(element.key, cst.SimpleString)
            and not isinstance(element.value, cst.SimpleString)
        ]
        if CLASS_OF.keys() & set(keys):
            self.names |= set(keys)


class SwapActivations(cst.CSTTransformer):
    """Put one activation in the place of others, on some lines or everywhere.

    Args:
        edit: what comes.
        kinds: names of the activations that go.
        lines: where; none means everywhere but at the end of a Sequential or a `return`, which
            is the output's activation.
        stretch: slope and shift of a normalized activation.
    """

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(
        self,
        edit: SwapActivation,
        kinds: frozenset[str],
        lines: Collection[int],
        stretch: tuple[float, float] | None,
    ) -> None:
        super().__init__()
        self.edit = edit
        self.kinds = kinds
        self.lines = frozenset(lines)
        self.stretch = stretch
        self.changed = 0
        self.helper = ""
        self._kept: set[cst.CSTNode] = set()
        self._tables: set[str] = set()  # names by which the file chooses activations

    def _here(self, node: cst.CSTNode) -> bool:
        if node in self._kept:
            return False
        if not self.lines:
            return True
        where = self.get_metadata(PositionProvider, node)
        return bool(self.lines & set(range(where.start.line, where.end.line + 1)))

    def visit_Module(self, node: cst.Module) -> None:
        """Read the tables from which activations are chosen by name; keep the output's."""
        found = _Tables()
        node.visit(found)
        self._tables = found.names
        for call in outputs(node, self.edit.paths):
            last = call.args[-1].value if call.args and not call.args[-1].star else None
            if isinstance(last, cst.Call) and len(call.args) > 1:
                self._kept.add(last.func)

    def visit_Return(self, node: cst.Return) -> None:
        """Keep the activation whose value a forward pass returns."""
        if isinstance(node.value, cst.Call) and self._is_function(node.value.func):
            self._kept |= {node.value, node.value.func}

    def visit_Dict(self, node: cst.Dict) -> None:
        """Keep a table of activations by name: what is chosen from it changes instead."""
        for element in node.elements:
            key = element.key if isinstance(element, cst.DictElement) else None
            if isinstance(key, cst.SimpleString) and key.evaluated_value in CLASS_OF:
                self._kept |= {element.value}

    def _is_function(self, node: cst.BaseExpression) -> bool:
        return last_name(node) in self.kinds

    def leave_Attribute(
        self, original: cst.Attribute, updated: cst.Attribute
    ) -> cst.BaseExpression:
        """Swap ``nn.Sigmoid``, called or not, and ``torch.sigmoid`` handed around."""
        name = original.attr.value
        if ACTIVATION_OF.get(name) in self.kinds and self._here(original):
            self.changed += 1
            if self.stretch is not None:
                self.helper = f"Normalized{CLASS_OF[self.edit.to]}"
                return cst.Name(self.helper)
            return updated.with_changes(attr=cst.Name(CLASS_OF[self.edit.to]))
        owner = stem(original)
        if name in self.kinds and owner in ("torch", "F", "torch.nn.functional", "nn.functional"):
            if not self._here(original):
                return updated
            if self.stretch is not None:
                return updated  # the call around it is stretched
            self.changed += 1
            return self._function(owner)
        return updated

    def _function(self, owner: str) -> cst.BaseExpression:
        to = self.edit.to
        if owner == "torch" and to not in IN_TORCH:
            owner = "torch.nn.functional"
        return cst.parse_expression(f"{owner}.{to}")

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
        """Swap ``x.sigmoid()``, and stretch the calls of a normalized activation."""
        func = original.func
        name = last_name(func)
        if name == "add_argument":
            return self._option(original, updated)
        if name not in self.kinds or not isinstance(func, cst.Attribute):
            return updated
        if original in self._kept or func in self._kept or not self._here(original):
            return updated
        method = stem(func) not in ("torch", "F", "torch.nn.functional", "nn.functional")
        if self.stretch is not None:
            self.changed += 1
            slope, shift = self.stretch
            sign = "-" if shift < 0.0 else "+"
            around = cst.parse_expression(f"({slope:.4f} * y {sign} {abs(shift):.4f})")
            return around.visit(_Put(updated))  # type: ignore[return-value]
        if method:
            self.changed += 1
            inner = updated.func
            assert isinstance(inner, cst.Attribute)
            first = cst.Arg(inner.value)
            return updated.with_changes(func=self._function("torch"), args=[first, *updated.args])
        return updated

    def _option(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Swap the default of ``add_argument("--activation", default="sigmoid")``."""
        named = any(
            isinstance(each.value, cst.SimpleString)
            and _SETTING.search(str(each.value.evaluated_value))
            for each in original.args
            if each.keyword is None
        )
        if not named:
            return updated
        args = list(updated.args)
        for at, each in enumerate(original.args):
            if each.keyword is not None and each.keyword.value == "default":
                new = self._setting(each.value)
                args[at] = args[at] if new is None else args[at].with_changes(value=new)
        return updated.with_changes(args=args)

    def _setting(self, value: cst.BaseExpression) -> cst.BaseExpression | None:
        """Return another choice by name; it is seldom made on the line where it acts."""
        if self.stretch is not None or not isinstance(value, cst.SimpleString):
            return None
        chosen = str(value.evaluated_value)
        if ACTIVATION_OF.get(chosen, chosen) not in self.kinds:
            return None
        new = CLASS_OF[self.edit.to] if chosen in ACTIVATION_OF else self.edit.to
        if self._tables and new not in self._tables:
            return None
        self.changed += 1
        return cst.SimpleString(f"{value.quote}{new}{value.quote}")

    def leave_DictElement(
        self, original: cst.DictElement, updated: cst.DictElement
    ) -> cst.DictElement:
        """Swap ``{"activation": "sigmoid"}``."""
        key = original.key
        if isinstance(key, cst.SimpleString) and _SETTING.search(str(key.evaluated_value)):
            new = self._setting(original.value)
            return updated if new is None else updated.with_changes(value=new)
        return updated

    def leave_Arg(self, original: cst.Arg, updated: cst.Arg) -> cst.Arg:
        """Swap ``activation="sigmoid"`` in a call."""
        if original.keyword is not None and _SETTING.search(original.keyword.value):
            new = self._setting(original.value)
            return updated if new is None else updated.with_changes(value=new)
        return updated

    def leave_Assign(self, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
        """Swap ``activation = "sigmoid"``."""
        if _SETTING.search(last_name(original.targets[0].target)):
            new = self._setting(original.value)
            return updated if new is None else updated.with_changes(value=new)
        return updated

    def leave_Param(self, original: cst.Param, updated: cst.Param) -> cst.Param:
        """Swap the default in ``def build(activation="sigmoid")``."""
        if original.default is not None and _SETTING.search(original.name.value):
            new = self._setting(original.default)
            return updated if new is None else updated.with_changes(default=new)
        return updated


class _Put(cst.CSTTransformer):
    """Put an expression in the place of ``y``."""

    def __init__(self, value: cst.BaseExpression) -> None:
        super().__init__()
        self.value = value

    def leave_Name(self, original: cst.Name, updated: cst.Name) -> cst.BaseExpression:
        return self.value if original.value == "y" else updated

"""Change layers in source: normalizations behind them, the arguments that build them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import libcst as cst

from .._edits import InsertNormalization
from ._names import LAYER_WIDTH, argument, code, is_activation, last_name, stem


class _Counted(cst.CSTVisitor):
    """The constructors of layers, and the attributes of `self` that hold what they build."""

    def __init__(self) -> None:
        self.layers: list[tuple[cst.Call, str]] = []
        self._held = ""

    def visit_Assign(self, node: cst.Assign) -> None:
        target = node.targets[0].target
        own = isinstance(target, cst.Attribute) and code(target.value) == "self"
        self._held = last_name(target) if own else ""

    def leave_Assign(self, original_node: cst.Assign) -> None:
        self._held = ""

    def visit_Call(self, node: cst.Call) -> None:
        if last_name(node.func) in LAYER_WIDTH:
            self.layers.append((node, self._held))


class Normalize(cst.CSTTransformer):
    """Put a normalization behind the constructor of each layer, the output's excepted.

    That is the one that no path of the edit names, else the last of the file.
    """

    def __init__(self, edit: InsertNormalization) -> None:
        super().__init__()
        self.edit = edit
        self.changed = 0
        self._outputs: list[cst.Call] = []
        self._done: set[cst.CSTNode] = set()
        self._wide: dict[cst.CSTNode, str] = {}

    def visit_Module(self, node: cst.Module) -> None:
        """Find the output's layer."""
        found = _Counted()
        node.visit(found)
        hidden = {part for path in self.edit.paths for part in path.split(".")}
        known = [call for call, held in found.layers if held and held not in hidden]
        last = [call for call, _held in found.layers[-1:]]
        self._outputs = known if hidden and known else last

    def _fits(self, node: cst.BaseExpression) -> bool:
        return (
            isinstance(node, cst.Call)
            and all(node is not each for each in self._outputs)
            and last_name(node.func) in LAYER_WIDTH
            and self._made(node) is not None
        )

    def _made(self, node: cst.Call) -> str | None:
        layer = last_name(node.func)
        width = argument(node, LAYER_WIDTH[layer], 1)
        if width is None:
            return None
        owner = f"{stem(node.func)}." if stem(node.func) else ""
        wide = code(width)
        one = layer.removeprefix("Conv") if layer != "Linear" else "1d"
        if self.edit.to == "batch":
            return f"{owner}BatchNorm{one}({wide})"
        size = 32 if layer == "Linear" else 8
        many = f"max({wide} // {size}, 1)"
        if isinstance(width, cst.Integer):
            number = int(width.evaluated_value)
            many = next(f"{g}" for g in range(max(number // size, 1), 0, -1) if number % g == 0)
        if layer != "Linear":
            groups = "1" if self.edit.to in ("layer", "rms") else many
            return f"{owner}GroupNorm({groups}, {wide})"
        return {
            "layer": f"{owner}LayerNorm({wide})",
            "rms": f"{owner}RMSNorm({wide})",
            "group": f"{owner}GroupNorm({many}, {wide})",
        }[self.edit.to]

    def _placed(self, values: Sequence[cst.BaseExpression]) -> dict[int, str]:
        """Return, by the place of a layer followed by an activation, what goes between."""
        found = {}
        for place, (one, two) in enumerate(pairwise(values)):
            if isinstance(one, cst.Call) and self._fits(one) and is_activation(two):
                made = self._made(one)
                if made is not None:
                    found[place] = made
                    self._done.add(one)
        return found

    def visit_List(self, node: cst.List) -> None:
        """Look for a layer and its activation side by side."""
        for place, made in self._placed([each.value for each in node.elements]).items():
            self._wide[node.elements[place]] = made

    def visit_Call(self, node: cst.Call) -> None:
        """Look for a layer and its activation side by side in ``nn.Sequential(...)``."""
        if last_name(node.func) in ("Sequential", "Residual"):
            for place, made in self._placed([each.value for each in node.args]).items():
                self._wide[node.args[place]] = made

    def leave_Element(
        self, original: cst.Element, updated: cst.Element
    ) -> cst.Element | cst.FlattenSentinel[cst.Element]:
        """Put the normalization behind the layer."""
        made = self._wide.get(original)
        if made is None:
            return updated
        self.changed += 1
        comma = updated.comma if isinstance(updated.comma, cst.Comma) else cst.Comma()
        new = cst.Element(cst.parse_expression(made), comma=comma)
        return cst.FlattenSentinel([updated, new])

    def leave_Arg(
        self, original: cst.Arg, updated: cst.Arg
    ) -> cst.Arg | cst.FlattenSentinel[cst.Arg]:
        """Put the normalization behind the layer."""
        made = self._wide.get(original)
        if made is None:
            return updated
        self.changed += 1
        new = cst.Arg(cst.parse_expression(made), comma=updated.comma)
        return cst.FlattenSentinel([updated, new])

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
        """Wrap a layer that stands alone, as in a ModuleList or behind an attribute."""
        if not self._fits(original) or original in self._done:
            return updated
        made = self._made(original)
        owner = f"{stem(original.func)}." if stem(original.func) else ""
        self.changed += 1
        return cst.parse_expression(f"{owner}Sequential({code(updated)}, {made})")


class ChangeConstructor(cst.CSTTransformer):
    """Rename the constructor of some layers, drop or set keywords."""

    def __init__(
        self, names: Collection[str], *, to: str = "", drop: str = "", add: str = ""
    ) -> None:
        super().__init__()
        self.names = frozenset(names)
        self.to = to
        self.drop = drop
        self.add = add
        self.changed = 0

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Change one call."""
        if last_name(original.func) not in self.names:
            return updated
        self.changed += 1
        named = [a for a in updated.args if a.keyword is None or a.keyword.value != self.drop]
        if self.add:
            key = self.add.partition("=")[0]
            named = [a for a in named if a.keyword is None or a.keyword.value != key]
            new = cst.ensure_type(cst.parse_expression(f"f({self.add})"), cst.Call).args[0]
            if named and not isinstance(named[-1].comma, cst.Comma):
                comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
                named[-1] = named[-1].with_changes(comma=comma)
            named = [*named, new]
        func = updated.func
        if self.to and isinstance(func, cst.Attribute):
            func = func.with_changes(attr=cst.Name(self.to))
        elif self.to:
            return updated
        return updated.with_changes(func=func, args=named)


def normalize_first(module: cst.Module) -> tuple[cst.Module, int]:
    """Make torch's post-norm blocks pre-norm; their stacks then need a normalization at the end.

    Returns:
        The changed file, and how many constructors of blocks were changed.
    """
    first = ChangeConstructor(_BLOCKS, add="norm_first=True")
    changed = module.visit(first)
    found = _Widths()
    module.visit(found)
    if len(found.blocks) == 1 and found.stacks and found.stacks <= found.blocks:
        [(_scope, owner, width)] = found.blocks
        norm = f"{owner}LayerNorm({width})"
        end = ChangeConstructor({"TransformerEncoder", "TransformerDecoder"}, add=f"norm={norm}")
        changed = changed.visit(end)
    return changed, first.changed


_BLOCKS = frozenset({"TransformerEncoderLayer", "TransformerDecoderLayer"})


class _Widths(cst.CSTVisitor):
    """The widths of blocks, and the stacks without a normalization, by the function they are in.

    A stack is known by the width of the blocks beside it: one in another function has none.
    """

    def __init__(self) -> None:
        self.blocks: set[tuple[str, str, str]] = set()
        self.stacks: set[tuple[str, str, str]] = set()
        self._open: list[str] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._open.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._open.pop()

    def visit_Call(self, node: cst.Call) -> None:
        name, scope = last_name(node.func), ".".join(self._open)
        owner = f"{stem(node.func)}." if stem(node.func) else ""
        width = argument(node, "d_model", 0)
        if name in _BLOCKS:
            self.blocks.add((scope, owner, "" if width is None else code(width)))
        elif name in ("TransformerEncoder", "TransformerDecoder"):
            if argument(node, "norm", 2) is None:
                widths = {each for each in self.blocks if each[0] == scope and each[2]}
                self.stacks |= widths or {(scope, owner, "?")}
            else:
                self.stacks.add((scope, owner, "has one"))

"""Change layers in source: normalizations, skip connections, recurrent layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import libcst as cst
from libcst.metadata import PositionProvider

from .._edits import AddSkip, InsertNormalization
from ._names import LAYER_WIDTH, argument, called, code, is_activation, last_name, stem

RESIDUAL = '''
class Residual(nn.Sequential):
    """x + {scale} * f(x) where f keeps the shape, f(x) where it does not."""

    def forward(self, x):
        y = super().forward(x)
        return x + {scale} * y if x.shape == y.shape else y
'''
LEARNED = '''
class Residual(nn.Sequential):
    """x + scale * f(x) where f keeps the shape, f(x) where it does not; the scale is learned."""

    def __init__(self, *layers):
        super().__init__(*layers)
        if layers[0].weight.shape[0] == layers[0].weight.shape[1]:
            self.scale = nn.Parameter(torch.tensor({scale}))

    def forward(self, x):
        y = super().forward(x)
        return x + self.scale * y if hasattr(self, "scale") else y
'''
SKIP = '''
def with_skip(x, y):
    """Return x + {scale} * y where both have one shape, y where they do not."""
    return x + {scale} * y if x.shape == y.shape else y
'''


class _Counted(cst.CSTVisitor):
    def __init__(self) -> None:
        self.layers: list[cst.Call] = []

    def visit_Call(self, node: cst.Call) -> None:
        if last_name(node.func) in LAYER_WIDTH:
            self.layers.append(node)


class Normalize(cst.CSTTransformer):
    """Put a normalization behind each layer's constructor, the file's last one excepted."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edit: InsertNormalization, lines: Collection[int]) -> None:
        super().__init__()
        self.edit = edit
        self.lines = frozenset(lines)
        self.changed = 0
        self._last: cst.CSTNode | None = None
        self._done: set[cst.CSTNode] = set()
        self._wide: dict[cst.CSTNode, str] = {}

    def visit_Module(self, node: cst.Module) -> None:
        """Find the output's layer: the one that is built last."""
        found = _Counted()
        node.visit(found)
        self._last = found.layers[-1] if found.layers else None

    def _fits(self, node: cst.BaseExpression) -> bool:
        return (
            isinstance(node, cst.Call)
            and node is not self._last
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
        if layer != "Linear":
            groups = "1" if self.edit.to in ("layer", "rms") else f"max({wide} // 8, 1)"
            return f"{owner}GroupNorm({groups}, {wide})"
        return {
            "layer": f"{owner}LayerNorm({wide})",
            "rms": f"{owner}RMSNorm({wide})",
            "group": f"{owner}GroupNorm(max({wide} // 32, 1), {wide})",
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


class AddSkips(cst.CSTTransformer):
    """Put skip connections around a layer with its activation."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edit: AddSkip) -> None:
        super().__init__()
        self.edit = edit
        self.blocks = 0
        self.calls = 0

    def leave_Assign(self, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
        """Turn ``h = act(layer(h))`` into ``h = with_skip(h, act(layer(h)))``."""
        target = original.targets[0].target
        if len(original.targets) != 1 or not isinstance(target, cst.Name):
            return updated
        value = original.value
        inner = value.args[0].value if isinstance(value, cst.Call) and value.args else None
        if not (isinstance(inner, cst.Call) and inner.args and isinstance(value, cst.Call)):
            return updated
        given = inner.args[0].value
        if not isinstance(given, cst.Name) or given.value != target.value or len(value.args) != 1:
            return updated
        self.calls += 1
        new = cst.parse_expression(f"with_skip({target.value}, {code(updated.value)})")
        return updated.with_changes(value=new)

    def _block(self, values: Sequence[cst.BaseExpression]) -> list[tuple[cst.BaseExpression, int]]:
        """Return the values with layer (normalization) activation joined, and their places."""
        out: list[tuple[cst.BaseExpression, int]] = []
        place = 0
        while place < len(values):
            end = place + 1
            if called(values[place]) in LAYER_WIDTH:
                while end < len(values) and "Norm" in called(values[end]):
                    end += 1
                if end < len(values) and is_activation(values[end]):
                    parts = ", ".join(code(each) for each in values[place : end + 1])
                    out.append((cst.parse_expression(f"Residual({parts})"), end))
                    self.blocks += 1
                    place = end + 1
                    continue
            out.append((values[place], place))
            place += 1
        return out

    def leave_List(self, original: cst.List, updated: cst.List) -> cst.List:
        """Join a layer and its activation into one residual block."""
        del original
        before = self.blocks
        joined = self._block([each.value for each in updated.elements])
        if self.blocks == before:
            return updated
        elements = [updated.elements[at].with_changes(value=value) for value, at in joined]
        return updated.with_changes(elements=elements)

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Join a layer and its activation into one residual block of a Sequential."""
        if last_name(original.func) != "Sequential":
            return updated
        before = self.blocks
        joined = self._block([each.value for each in updated.args])
        if self.blocks == before or any(each.star for each in updated.args):
            return updated
        return updated.with_changes(
            args=[updated.args[at].with_changes(value=value) for value, at in joined]
        )


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

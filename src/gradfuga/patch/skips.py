"""Add skip connections in source: around modules in a row, around calls, around hooked layers."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from .._edits import AddSkip
from ._names import CLASS_OF, LAYER_WIDTH, called, code, is_activation, last_name, stem

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
LEARNED_SKIP = '''
def with_skip(x, y, layer):
    """Return x + layer.skip_scale * y where the layer has that factor, y where it has none."""
    return x + layer.skip_scale * y if hasattr(layer, "skip_scale") else y
'''
_HIDDEN = '''
def layers_to_skip(model, names=None):
    """Return the named layers, or all but the last, that keep the shape."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    layers = {name: m for name, m in model.named_modules() if type(m) in kinds}
    found = [m for name, m in layers.items() if name in names] if names else (
        list(layers.values())[:-1]
    )
    return [m for m in found if m.weight.shape[0] == m.weight.shape[1]]
'''
LEARN_SKIPS = (
    _HIDDEN
    + '''

def learn_skips(model, names=None):
    """Give each hidden layer a learned factor for what goes through it."""
    for layer in layers_to_skip(model, names):
        layer.skip_scale = torch.nn.Parameter(torch.tensor(<scale>))
'''
)
AROUND = (
    _HIDDEN
    + '''

class AddSkips:
    """Let what goes into a hidden layer go around it and its activation, too."""

    def __init__(self, model, names=None):
        layers = layers_to_skip(model, names)
        self.last, self.scale = None, <scale>
        for layer in layers:
            <parameter>layer.register_forward_hook(self.behind_layer)
        for module in model.modules():
            if isinstance(module, <activations>):
                module.register_forward_hook(self.behind_activation)

    def behind_layer(self, layer, args, output):
        self.last = layer, args[0]

    def behind_activation(self, activation, args, output):
        (layer, x), self.last = self.last or (None, None), None
        if layer is None or x.shape != output.shape:
            return output
        return x + <factor> * output
'''
)


class AddSkips(cst.CSTTransformer):
    """Put skip connections around a layer with its activation.

    Args:
        edit: how much goes through.
        joins: whether a layer and its activation may become one part of a row.
    """

    def __init__(self, edit: AddSkip, *, joins: bool) -> None:
        super().__init__()
        self.edit = edit
        self.joins = joins
        self.blocks = 0
        self.calls = 0
        self._given: list[frozenset[str]] = []  # arguments of the functions that are open

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Note the arguments."""
        given = {each.name.value for each in node.params.params}
        self._given.append(frozenset(given) if node.name.value == "forward" else frozenset())

    def leave_FunctionDef(
        self, original: cst.FunctionDef, updated: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Forget them."""
        self._given.pop()
        return updated

    def leave_Assign(self, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
        """Turn ``h = act(layer(h))`` into ``h = with_skip(h, act(layer(h)))``."""
        target = original.targets[0].target
        if len(original.targets) != 1 or not isinstance(target, cst.Name):
            return updated
        new = self._around(original.value, updated.value, frozenset({target.value}))
        return updated if new is None else updated.with_changes(value=new)

    def leave_Return(self, original: cst.Return, updated: cst.Return) -> cst.Return:
        """Turn ``return act(self.layer(x))`` of a block into ``return with_skip(x, ...)``."""
        if not isinstance(original.value, cst.Call) or updated.value is None or not self._given:
            return updated
        func = original.value.func
        if last_name(func) not in CLASS_OF and stem(func) != "self":
            return updated
        new = self._around(original.value, updated.value, self._given[-1])
        return updated if new is None else updated.with_changes(value=new)

    def _around(
        self, value: cst.BaseExpression, updated: cst.BaseExpression, given: frozenset[str]
    ) -> cst.BaseExpression | None:
        """Return ``act(layer(x))`` with a skip around it, where x is one of `given`."""
        inner = value.args[0].value if isinstance(value, cst.Call) and value.args else None
        if not (isinstance(inner, cst.Call) and inner.args and isinstance(value, cst.Call)):
            return None
        x = inner.args[0].value
        if not isinstance(x, cst.Name) or x.value not in given or len(value.args) != 1:
            return None
        self.calls += 1
        layer = f", {code(inner.func)}" if self.edit.learned else ""
        return cst.parse_expression(f"with_skip({x.value}, {code(updated)}{layer})")

    def _block(self, values: Sequence[cst.BaseExpression]) -> list[tuple[cst.BaseExpression, int]]:
        """Return the values with layer (normalization) activation joined, and their places."""
        out: list[tuple[cst.BaseExpression, int]] = []
        place = 0
        while place < len(values):
            end = place + 1
            if self.joins and called(values[place]) in LAYER_WIDTH:
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

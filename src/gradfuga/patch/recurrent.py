"""Replace plain recurrent layers in source by gated ones, and take the state that they put out."""

from __future__ import annotations

import libcst as cst

from ._names import called, code, last_name
from .layers import ChangeConstructor

_PLAIN = {"RNN": {"gru": "GRU", "lstm": "LSTM"}, "RNNCell": {"gru": "GRUCell", "lstm": "LSTMCell"}}


class ReplaceRecurrents(cst.CSTTransformer):
    """Rename the constructors; of an LSTM's two states hand on the hidden one.

    Args:
        to: "gru" or "lstm".
    """

    def __init__(self, to: str) -> None:
        super().__init__()
        self.to = to
        self.changed = 0
        self._layers: set[str] = set()  # expressions that hold such a layer

    def visit_Assign(self, node: cst.Assign) -> None:
        """Note ``self.rnn = nn.RNN(...)``."""
        if called(node.value) in _PLAIN:
            self._layers.add(code(node.targets[0].target))

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Rename one constructor."""
        name = last_name(original.func)
        if name not in _PLAIN:
            return updated
        change = ChangeConstructor({name}, to=_PLAIN[name][self.to], drop="nonlinearity")
        found = change.leave_Call(original, updated)
        self.changed += found is not updated
        return found

    def leave_Assign(self, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
        """Turn ``out, h = self.rnn(x)`` into ``out, (h, _) = self.rnn(x)`` for an LSTM."""
        value, target = original.value, updated.targets[0].target
        if self.to != "lstm" or not isinstance(value, cst.Call):
            return updated
        if code(value.func) not in self._layers or not isinstance(target, cst.Tuple):
            return updated
        out, state = target.elements
        if code(state.value) == "_":
            return updated
        pair = cst.parse_expression(f"({code(state.value)}, _)")
        elements = [out, state.with_changes(value=pair)]
        target = target.with_changes(elements=elements)
        return updated.with_changes(targets=[updated.targets[0].with_changes(target=target)])

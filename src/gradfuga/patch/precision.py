"""Change the number format in source: a loss scale, another half format."""

from __future__ import annotations

import libcst as cst

from ._names import called, code, last_name, statements

_HALF = ("float16", "half")


class ScaleLoss(cst.CSTTransformer):
    """Scale each loss before its backward pass with a ``torch.amp.GradScaler``.

    Args:
        variable: the optimizer's.
        scaler: the expression of the scaler.
    """

    def __init__(self, variable: str, scaler: str) -> None:
        super().__init__()
        self.variable = variable
        self.scaler = scaler
        self.losses = 0
        self.steps = 0
        self._clips = 0

    def leave_SimpleStatementLine(
        self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.BaseStatement]:
        """Change ``loss.backward()`` and ``optimizer.step()``, and what reads gradients."""
        line = original.body[0]
        if len(original.body) != 1 or not isinstance(line, cst.Expr | cst.Assign):
            return updated
        if not isinstance(line.value, cst.Call):
            return updated
        call = line.value
        name = last_name(call.func)
        if name == "backward" and isinstance(call.func, cst.Attribute):
            self.losses += 1
            scaled = cst.parse_expression(f"{self.scaler}.scale({code(call.func.value)})")
            return _with_call(updated, call.with_changes(func=call.func.with_changes(value=scaled)))
        if name in ("clip_grad_norm_", "clip_grad_value_"):
            unscaled = statements(f"{self.scaler}.unscale_({self.variable})\n")
            return cst.FlattenSentinel([*unscaled, updated])
        if code(call.func) == f"{self.variable}.step" and not call.args:
            self.steps += 1
            step = cst.parse_expression(f"{self.scaler}.step({self.variable})")
            update = statements(f"{self.scaler}.update()\n")
            return cst.FlattenSentinel([_with_call(updated, step), *update])
        return updated


def _with_call(line: cst.SimpleStatementLine, value: cst.BaseExpression) -> cst.SimpleStatementLine:
    return line.with_changes(body=[line.body[0].with_changes(value=value)])


class WidenAutocast(cst.CSTTransformer):
    """Let autocast compute in bfloat16 where it computes in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = 0
        self._named: set[str] = set()  # variables that hold the format

    def visit_Module(self, node: cst.Module) -> None:
        """Read which variables are handed to autocast as its format."""
        found = _Formats()
        node.visit(found)
        self._named = found.names

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Change the argument ``dtype``, or add it where CUDA's default is meant."""
        if called(original) != "autocast":
            return updated
        args = list(updated.args)
        for at, each in enumerate(args):
            if _is_half(each.value):
                self.changed += 1
                args[at] = each.with_changes(value=_bfloat16(each.value))
                return updated.with_changes(args=args)
        told = any(
            each.star
            or (each.keyword is None and isinstance(each.value, cst.Name))
            or (each.keyword is not None and each.keyword.value == "dtype")
            for each in args
        )
        if told or "cuda" not in code(original):
            return updated
        self.changed += 1
        if args:
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
            args[-1] = args[-1].with_changes(comma=comma)
        new = cst.ensure_type(cst.parse_expression("f(dtype=torch.bfloat16)"), cst.Call).args
        return updated.with_changes(args=[*args, *new])

    def leave_Assign(self, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
        """Change ``dtype = torch.float16`` where autocast gets that variable."""
        name = code(original.targets[0].target)
        if name not in self._named or not _is_half(original.value):
            return updated
        self.changed += 1
        return updated.with_changes(value=_bfloat16(updated.value))


class _Formats(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Call(self, node: cst.Call) -> None:
        if called(node) == "autocast":
            self.names |= {
                code(each.value)
                for each in node.args
                if isinstance(each.value, cst.Name | cst.Attribute)
            }


def _is_half(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Attribute) and node.attr.value in _HALF


def _bfloat16(node: cst.BaseExpression) -> cst.BaseExpression:
    assert isinstance(node, cst.Attribute)
    return node.with_changes(attr=cst.Name("bfloat16"))

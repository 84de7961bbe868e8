"""Change the training in source: the optimizer's options, its steps, the loss."""

from __future__ import annotations

import libcst as cst

from .._edits import LoosenClipping, SetOptimizer
from ._names import OPTIMIZERS, argument, called, code, last_name, statements, stem

_Statement = cst.BaseStatement
_NOTHING = ("", "")
_CLIPPING = {  # the name of the bound, which comes second
    "clip_grad_norm_": "max_norm",
    "clip_grads_with_norm_": "max_norm",
    "clip_grad_value_": "clip_value",
}
# Of torch, called with the optimizer first and stepped without arguments; those that hold other
# schedules change nothing by themselves, and those of cycles change the momentum as well.
_SCHEDULES = frozenset(
    {
        "LambdaLR",
        "MultiplicativeLR",
        "StepLR",
        "MultiStepLR",
        "ConstantLR",
        "LinearLR",
        "ExponentialLR",
        "PolynomialLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
    }
)


class FindOptimizer(cst.CSTVisitor):
    """Find the statement that builds the optimizer, its variable and the model's expression.

    Attributes:
        variable: "" where none was found.
        model: "" where the source does not show whose parameters are trained.
        count: optimizers that are built.
        reached: whether the names at hand where it is built are known where it steps.
    """

    def __init__(self) -> None:
        self.variable = ""
        self.model = ""
        self.count = 0
        self._open: list[str] = []  # functions
        self._built: tuple[str, ...] = ()
        self._steps: list[tuple[str, ...]] = []

    @property
    def reached(self) -> bool:
        """Whether names beside the building can be used beside the steps."""
        deep = len(self._built)
        return self.variable.startswith("self.") or all(
            step[:deep] == self._built for step in self._steps
        )

    def beside(self, name: str) -> str:
        """Return an expression for something of ours that lives as long as the optimizer."""
        return f"self.{name}" if self.variable.startswith("self.") else name

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Enter a scope."""
        self._open.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        """Leave it."""
        self._open.pop()

    def visit_Call(self, node: cst.Call) -> None:
        """Note where steps are taken."""
        if called(node) == "step":
            self._steps.append(tuple(self._open))

    def visit_Assign(self, node: cst.Assign) -> None:
        """Read ``optimizer = torch.optim.SGD(model.parameters(), ...)``."""
        call = node.value
        if not isinstance(call, cst.Call) or last_name(call.func) not in OPTIMIZERS:
            return
        self.count += 1
        given = argument(call, "params", 0)
        if self.variable or given is None:
            return
        self.variable = code(node.targets[0].target)
        self._built = tuple(self._open)
        owners = _Owners()
        given.visit(owners)
        self.model = _whole(list(owners.found))


class _Owners(cst.CSTVisitor):
    """Collect the expressions whose parameters are asked for."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}

    def visit_Call(self, node: cst.Call) -> None:
        """Read ``model.parameters()``."""
        if called(node) in ("parameters", "named_parameters") and isinstance(
            node.func, cst.Attribute
        ):
            self.found[code(node.func.value)] = None


def _whole(owners: list[str]) -> str:
    """Return an expression for all the modules as one; "" for parts of a model, as `net.head`.

    Modules beside one another are named after their variables, as the diagnosis names them.
    """
    if len(owners) == 1:
        return owners[0]
    if not owners or not all(owner.isidentifier() for owner in owners):
        return ""
    named = ", ".join(f'"{owner}": {owner}' for owner in owners)
    return "torch.nn.ModuleDict({" + named + "})"


class SetOption(cst.CSTTransformer):
    """Set or multiply one argument of every optimizer's constructor."""

    def __init__(self, edit: SetOptimizer) -> None:
        super().__init__()
        self.edit = edit
        self.changed = 0

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Change one constructor."""
        if last_name(original.func) not in OPTIMIZERS:
            return updated
        args = list(updated.args)
        for at, each in enumerate(args):
            by_name = each.keyword is not None and each.keyword.value == self.edit.option
            second = each.keyword is None and not each.star and at == 1 and self.edit.option == "lr"
            if by_name or second:
                args[at] = each.with_changes(value=self._value(each.value))
                self.changed += 1
                return updated.with_changes(args=args)
        if self.edit.relative or not args or any(each.star == "**" for each in args):
            return updated  # what it would be multiplied with stands elsewhere
        self.changed += 1
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        if not isinstance(args[-1].comma, cst.Comma):
            args[-1] = args[-1].with_changes(comma=comma)
        value = cst.parse_expression(f"{self.edit.value:g}")
        equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        args.append(cst.Arg(value, keyword=cst.Name(self.edit.option), equal=equal))
        return updated.with_changes(args=args)

    def _value(self, before: cst.BaseExpression) -> cst.BaseExpression:
        if not self.edit.relative:
            return cst.parse_expression(f"{self.edit.value:g}")
        return _times(before, self.edit.value)


def _times(before: cst.BaseExpression, factor: float) -> cst.BaseExpression:
    """Return an expression times a number: worked out where it is a number itself."""
    if isinstance(before, cst.Float | cst.Integer):
        return cst.parse_expression(f"{before.evaluated_value * factor:g}")
    simple = isinstance(before, cst.Name | cst.Attribute | cst.Call | cst.Subscript)
    text = code(before) if simple or before.lpar else f"({code(before)})"
    return cst.parse_expression(f"{text} * {factor:g}")


class Loosen(cst.CSTTransformer):
    """Multiply the bound of every clipping."""

    def __init__(self, edit: LoosenClipping) -> None:
        super().__init__()
        self.edit = edit
        self.changed = 0

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Change one bound."""
        bound = _CLIPPING.get(last_name(original.func))
        if bound is None:
            return updated
        args = list(updated.args)
        for at, each in enumerate(args):
            by_name = each.keyword is not None and each.keyword.value == bound
            if by_name or (each.keyword is None and not each.star and at == 1):
                args[at] = each.with_changes(value=_times(each.value, self.edit.factor))
                self.changed += 1
                return updated.with_changes(args=args)
        return updated


class HoldRates(cst.CSTTransformer):
    """Put a schedule that holds the rate in place of each: what else the script asks of it stays.

    ``ExponentialLR(optimizer, 0.5)`` becomes ``ConstantLR(optimizer, factor=1.0)``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = 0

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Change one schedule."""
        if last_name(original.func) not in _SCHEDULES:
            return updated
        optimizer = argument(original, "optimizer", 0)
        if optimizer is None:
            return updated
        self.changed += 1
        name = "torch.optim.lr_scheduler.ConstantLR"
        if isinstance(original.func, cst.Attribute):
            name = f"{code(original.func.value)}.ConstantLR"
        held = cst.parse_expression(f"{name}({code(optimizer)}, factor=1.0)")
        assert isinstance(held, cst.Call)
        return held


class Insert(cst.CSTTransformer):
    """Insert statements beside the optimizer's construction or its steps.

    Args:
        variable: the optimizer's.
        before_build, after_build, before_step, after_step: source of the statements, "" for none.
        unscaled: a loss scale is taken off the gradients already.
    """

    def __init__(
        self,
        variable: str,
        *,
        before_build: str = "",
        after_build: str = "",
        before_step: str = "",
        after_step: str = "",
        unscaled: bool = False,
    ) -> None:
        super().__init__()
        self.variable = variable
        self.build = (before_build, after_build)
        self.step = (before_step, after_step)
        self.unscaled = unscaled
        self.changed = 0

    def leave_SimpleStatementLine(
        self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.BaseStatement]:
        """Put the statements around this one, where it is one of those.

        Of several statements on one line each gets its own then.
        """
        places = [self._around(each) for each in original.body]
        if all(place == _NOTHING for place in places):
            return updated
        self.changed += 1
        if len(places) == 1:
            before, after = places[0]
            return cst.FlattenSentinel([*statements(before), updated, *statements(after)])
        lines: list[cst.BaseStatement] = []
        for place, (each, (before, after)) in enumerate(zip(updated.body, places, strict=True)):
            alone = each.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
            line = cst.SimpleStatementLine([alone])
            if place == 0:
                line = line.with_changes(leading_lines=updated.leading_lines)
            if place == len(places) - 1:
                line = line.with_changes(trailing_whitespace=updated.trailing_whitespace)
            lines += [*statements(before), line, *statements(after)]
        return cst.FlattenSentinel(lines)

    def _around(self, line: cst.BaseSmallStatement) -> tuple[str, str]:
        """Return what goes before and after a statement."""
        if isinstance(line, cst.Assign) and code(line.targets[0].target) == self.variable:
            return self.build if called(line.value) in OPTIMIZERS else _NOTHING
        if isinstance(line, cst.Expr) and isinstance(line.value, cst.Call):
            call = line.value
            if code(call.func) == f"{self.variable}.step":
                return self.step
            given = code(call.args[0].value) if call.args else ""
            if last_name(call.func) == "step" and given == self.variable:
                return self._scaled(stem(call.func))  # scaler.step(optimizer)
        return _NOTHING

    def _scaled(self, scaler: str) -> tuple[str, str]:
        """Return what goes around ``scaler.step(optimizer)``: it holds scaled gradients before."""
        before, after = self.step
        if before and not self.unscaled:
            before = f"{scaler}.unscale_({self.variable})\n{before}"
        return before, after


class MoveClearing(cst.CSTTransformer):
    """Move what clears the gradients between a backward pass and its step behind the step."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = 0

    def leave_IndentedBlock(
        self, original: cst.IndentedBlock, updated: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        """Reorder the statements of one block."""
        return updated.with_changes(body=self._reordered(list(updated.body)))

    def leave_Module(self, original: cst.Module, updated: cst.Module) -> cst.Module:
        """Reorder statements that stand in no block."""
        return updated.with_changes(body=self._reordered(list(updated.body)))

    def _reordered(self, body: list[_Statement]) -> list[_Statement]:
        names = [_called_alone(each) for each in body]
        for back in [at for at, name in enumerate(names) if name == "backward"]:
            if "step" not in names[back:]:
                continue
            step = names.index("step", back)
            cleared = [at for at in range(back, step) if names[at] == "zero_grad"]
            if cleared:
                self.changed += len(cleared)
                moved = [body[at] for at in cleared]
                kept = [each for at, each in enumerate(body[: step + 1]) if at not in cleared]
                return [*kept, *moved, *body[step + 1 :]]
        return body


def _called_alone(statement: cst.BaseStatement) -> str:
    """Return the name of the method that a statement calls and does nothing else, else ""."""
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return ""
    line = statement.body[0]
    return called(line.value) if isinstance(line, cst.Expr) else ""


class UseLogits(cst.CSTTransformer):
    """Take the loss on logits: the last sigmoid or softmax goes, the loss changes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = 0
        self.outputs = 0
        self.softmax = 0

    def leave_Attribute(self, original: cst.Attribute, updated: cst.Attribute) -> cst.Attribute:
        """Change the name of the loss."""
        to = {
            "MSELoss": "BCEWithLogitsLoss",
            "BCELoss": "BCEWithLogitsLoss",
            "mse_loss": "binary_cross_entropy_with_logits",
            "binary_cross_entropy": "binary_cross_entropy_with_logits",
        }.get(original.attr.value)
        if to is None:
            return updated
        self.losses += 1
        return updated.with_changes(attr=cst.Name(to))

    def leave_Call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        """Take the last activation out of a Sequential."""
        if last_name(original.func) != "Sequential" or not updated.args:
            return updated
        last = called(original.args[-1].value)
        if last not in ("Sigmoid", "Softmax"):
            return updated
        self._count(last)
        args = list(updated.args[:-1])
        if args:
            args[-1] = args[-1].with_changes(comma=updated.args[-1].comma)
        return updated.with_changes(args=args)

    def leave_Return(self, original: cst.Return, updated: cst.Return) -> cst.Return:
        """Turn ``return torch.sigmoid(z)`` into ``return z``."""
        value = original.value
        if not isinstance(value, cst.Call) or not isinstance(updated.value, cst.Call):
            return updated
        name = last_name(value.func)
        if name not in ("sigmoid", "softmax"):
            return updated
        self._count(name.title())
        if value.args and code(value.func).startswith(("torch.", "F.", "nn.")):
            return updated.with_changes(value=updated.value.args[0].value)
        assert isinstance(updated.value.func, cst.Attribute)
        return updated.with_changes(value=updated.value.func.value)

    def _count(self, name: str) -> None:
        self.outputs += 1
        self.softmax += name == "Softmax"

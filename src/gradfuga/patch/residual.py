"""Scale residual branches in source: in ``x + f(x)``, what f puts out."""

from __future__ import annotations

from collections.abc import Collection

import libcst as cst
from libcst.metadata import PositionProvider

from .._edits import ScaleBranch
from ._names import code, last_name
from .drawing import number

_SHORTCUTS = ("shortcut", "downsample", "skip", "identity", "residual")  # names of what is beside
_NO_BRANCH = ("pos", "emb", "mask")  # what is added to a signal without being a branch
_SCALE = "branch_scale"


class ScaleBranches(cst.CSTTransformer):
    """Multiply the branch of each sum of a signal and what was made of it.

    Args:
        edit: which factor.
        lines: where the sums are; none means in every ``forward``.
    """

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edit: ScaleBranch, lines: Collection[int]) -> None:
        super().__init__()
        self.edit = edit
        self.lines = frozenset(lines)
        self.changed = 0
        self._given: list[frozenset[str]] = []  # arguments of the functions that are open
        self._learned: list[list[str]] = []  # factors that the classes that are open need
        self.unheld = False  # a class without a constructor has no place for its factors

    # -- what is a branch ------------------------------------------------------------------

    def _here(self, node: cst.CSTNode) -> bool:
        if not self._given or (self.edit.learned and not self._learned):
            return False
        if not self.lines:
            return True
        where = self.get_metadata(PositionProvider, node)
        return bool(self.lines & set(range(where.start.line, where.end.line + 1)))

    def _is_skip(self, node: cst.BaseExpression, beside: cst.BaseExpression) -> bool:
        """Whether `node` is the signal that goes around, and `beside` what was made of it."""
        if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
            return self._is_skip(node.left, beside) or self._is_skip(node.left, node.right)
        name = node.value if isinstance(node, cst.Name) else ""
        of = last_name(node.func if isinstance(node, cst.Call) else node)
        return (
            name in self._given[-1]
            or any(word in of.lower() for word in _SHORTCUTS)
            or (bool(name) and name in _names(beside))
        )

    def _branch(self, left: cst.BaseExpression, right: cst.BaseExpression) -> str:
        """Return which side of a sum is the branch: "left", "right", or "" for neither."""
        skips = self._is_skip(left, right), self._is_skip(right, left)
        if skips[0] == skips[1]:
            return ""
        branch = right if skips[0] else left
        computed = isinstance(branch, cst.Name) or bool(_Calls.of(branch))
        named = " ".join(_Calls.of(branch)).lower()
        beside = not self.lines and any(word in named for word in _NO_BRANCH)
        return "" if beside or not computed else ("right" if skips[0] else "left")

    def _scaled(self, branch: cst.BaseExpression) -> cst.BaseExpression:
        self.changed += 1
        text = code(branch)
        plain = isinstance(branch, cst.Call | cst.Name | cst.Attribute | cst.Subscript)
        text = text if plain or branch.lpar else f"({text})"
        return cst.parse_expression(f"{self._factor()} * {text}")

    def _factor(self) -> str:
        if self.edit.learned:
            names = self._learned[-1]
            names.append(f"{_SCALE}{len(names) + 1}" if names else _SCALE)
            return f"self.{names[-1]}"
        if self.edit.scale is not None:
            return number(self.edit.scale)
        return f"{max(len(dict.fromkeys(self.edit.paths)), 1)} ** -0.5"

    # -- where sums are --------------------------------------------------------------------

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Expect factors that the class has to hold."""
        self._learned.append([])

    def leave_ClassDef(self, original: cst.ClassDef, updated: cst.ClassDef) -> cst.ClassDef:
        """Give the class the factors that its ``forward`` multiplies with."""
        names = self._learned.pop()
        if not names:
            return updated
        add = _AddParameters(names, self.edit.scale or 0.0)
        changed = updated.visit(add)
        self.unheld = self.unheld or not add.changed
        assert isinstance(changed, cst.ClassDef)
        return changed

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Note the arguments: what comes in is what goes around."""
        given = [each.name.value for each in node.params.params]
        forward = node.name.value == "forward"
        self._given.append(frozenset(given) - {"self"} if forward or self.lines else frozenset())

    def leave_FunctionDef(
        self, original: cst.FunctionDef, updated: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Forget them."""
        self._given.pop()
        return updated

    def leave_BinaryOperation(
        self, original: cst.BinaryOperation, updated: cst.BinaryOperation
    ) -> cst.BinaryOperation:
        """Turn ``x + f(x)`` into ``x + scale * f(x)``."""
        if not isinstance(original.operator, cst.Add) or not self._here(original):
            return updated
        side = self._branch(original.left, original.right)
        if side == "right":
            return updated.with_changes(right=self._scaled(updated.right))
        return updated.with_changes(left=self._scaled(updated.left)) if side else updated

    def leave_AugAssign(
        self, original: cst.AugAssign, updated: cst.AugAssign
    ) -> cst.AugAssign | cst.Assign:
        """Turn ``x += f(x)`` into ``x += scale * f(x)``, and ``y += x`` likewise."""
        if not isinstance(original.operator, cst.AddAssign) or not self._here(original):
            return updated
        target = original.target
        if not isinstance(target, cst.Name):
            return updated
        side = self._branch(target, original.value)
        if side == "right":
            return updated.with_changes(value=self._scaled(updated.value))
        if not side:
            return updated
        whole = cst.parse_expression(f"{code(self._scaled(target))} + {code(updated.value)}")
        return cst.Assign([cst.AssignTarget(target)], whole, semicolon=updated.semicolon)


def _names(node: cst.BaseExpression) -> frozenset[str]:
    found = _Read()
    node.visit(found)
    return frozenset(found.names)


class _Read(cst.CSTVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        node.value.visit(self)  # an attribute's own name is no variable
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.names.add(node.value)


class _Calls(cst.CSTVisitor):
    """The names of what an expression calls."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_Call(self, node: cst.Call) -> None:
        self.names.append(last_name(node.func))

    @classmethod
    def of(cls, node: cst.BaseExpression) -> list[str]:
        found = cls()
        node.visit(found)
        return found.names


class _AddParameters(cst.CSTTransformer):
    """Let ``__init__`` end with parameters of one number each."""

    def __init__(self, names: Collection[str], start: float) -> None:
        super().__init__()
        self.lines = [
            cst.parse_statement(f"self.{name} = torch.nn.Parameter(torch.tensor({start!r}))")
            for name in names
        ]
        self.changed = 0

    def leave_FunctionDef(
        self, original: cst.FunctionDef, updated: cst.FunctionDef
    ) -> cst.FunctionDef:
        """Add the lines to the constructor."""
        if original.name.value != "__init__" or not isinstance(updated.body, cst.IndentedBlock):
            return updated
        self.changed += 1
        body = updated.body.with_changes(body=[*updated.body.body, *self.lines])
        return updated.with_changes(body=body)

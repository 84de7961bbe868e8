"""Read a loss of differences that a script writes out: squares, absolute values, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .crossing import crossing
from .loss import LossTerm, columns_of, robust_moments
from .norms import Measured
from .recovered import RESHAPED, factor_of, saved, shape_of, unspread, value_of
from .spies import RootCall

_MOST_SCALINGS = 6  # ops between a difference and the function of it
# The target is the prediction less the difference, both rounded: what the targets vary by beyond
# this is theirs. Four units in the last place, squared, of the larger of the two.
_ROUNDING = (4.0 * torch.finfo(torch.float32).eps) ** 2
_EUCLID = 2
_WEISZFELD = 20  # steps to a geometric median; the last ones move it by less than a percent


@dataclass(frozen=True, slots=True)
class Residual:
    """A difference of prediction and target, as a loss has it.

    Attributes:
        prediction: what the network said.
        target: what it was held against, in the shape of the difference.
        factor: what the difference is multiplied by before the loss takes it.
        node: the op that subtracts.
        columns: the prediction's shape before the script made it flat.
    """

    prediction: Tensor
    target: Tensor
    factor: Tensor | float
    node: Node
    columns: tuple[int, ...]

    def in_columns(self, values: Tensor) -> Tensor:
        """Return `values`, one for each difference, as `[N, K]`: a constant has K numbers."""
        if values.numel() == math.prod(self.columns):
            return columns_of(values.reshape(self.columns))
        return columns_of(values, like=self.prediction)


def difference(node: Node | None, given: Tensor, calls: Sequence[RootCall]) -> Residual | None:
    """Return what was subtracted to make `given`, None where it is no such difference.

    Args:
        node: the op that made it, or scaled or reshaped it.
        given: its value.
        calls: of modules, with what came out of them.
    """
    factor: Tensor | float = 1.0
    for _ in range(_MOST_SCALINGS):
        if node is None:
            return None
        name = base_name(node.name())
        if name in ("Sub", "Rsub"):
            return _subtraction(node, name, given, factor, calls)
        inputs = [child for child, _ in node.next_functions]
        shape = shape_of(inputs[0]) if inputs and inputs[0] is not None else None
        if name in RESHAPED and shape is not None:
            given = given.reshape(shape)
            factor = factor.reshape(shape) if isinstance(factor, Tensor) else factor
        elif name in ("Mul", "Div"):
            by = factor_of(node)
            if by is None or (name == "Div" and inputs[0] is None):
                return None
            factor = factor * by if name == "Mul" else factor / by
            given = given / by if name == "Mul" else given * by
        elif name == "Neg":
            given = -given
        else:
            return None
        node = next((child for child in inputs if child is not None), None)
    return None


def _subtraction(
    node: Node, name: str, given: Tensor, factor: Tensor | float, calls: Sequence[RootCall]
) -> Residual | None:
    inputs = [child for child, _ in node.next_functions[:2]]
    learning = [slot for slot, child in enumerate(inputs) if child is not None]
    if len(learning) != 1 or getattr(node, "_saved_alpha", 1) != 1:
        return None  # both learn: there is no target
    prediction = value_of(inputs[learning[0]], calls)
    if prediction is None:
        return None
    prediction = unspread(prediction)  # torch's own losses expand before they subtract
    first = (learning[0] == 0) != (name == "Rsub")  # prediction - target, or target - prediction
    wide, apart = prediction.to(torch.float64), given.to(torch.float64)
    target = wide - apart if first else wide + apart
    # of a prediction that is no number nothing can be worked out
    target = torch.where(torch.isfinite(wide), target, torch.zeros_like(target))
    noise = _ROUNDING * torch.maximum(wide.square().mean(), apart.square().mean())
    target = torch.where(target.var(unbiased=False) <= noise, target.mean(), target)
    return Residual(prediction, target, factor, node, _own_shape(inputs[learning[0]], prediction))


def _own_shape(node: Node | None, prediction: Tensor) -> tuple[int, ...]:
    """Return the shape of a flat prediction before it was made flat."""
    shape = tuple(prediction.shape)
    while node is not None and len(shape) <= 1 and base_name(node.name()) in RESHAPED:
        node = node.next_functions[0][0]
        before = shape_of(node) if node is not None else None
        shape = shape if before is None else before
    return shape


def _held(node: Node) -> Tensor | None:
    """Return the difference that the op is a function of."""
    name = base_name(node.name())
    if name in ("Pow", "Abs", "Cosh"):
        return saved(node, "self")
    if name == "LinalgVectorNorm":
        return saved(node, "self") if getattr(node, "_saved_ord", None) == _EUCLID else None
    one, other = saved(node, "self"), saved(node, "tensor" if name == "Dot" else "other")
    inputs = [child for child, _ in node.next_functions[:2]]
    same = len(inputs) == 2 and inputs[0] is inputs[1]  # noqa: PLR2004 (`d * d`)
    if same and one is not None:
        return one
    # `(p - y) * (p - y)`: two differences of the same values
    names = [base_name(child.name()) for child in inputs if child is not None]
    twice = names in (["Sub", "Sub"], ["View", "View"], ["Squeeze", "Squeeze"])
    if not twice or one is None or other is None or not one.is_cpu:
        return None
    return one if torch.equal(one, other) else None


def residual_of(node: Node, calls: Sequence[RootCall]) -> Residual | None:
    """Return the difference that a squared or absolute error is taken of."""
    given = _held(node)
    child = node.next_functions[0][0]
    if given is None or given.numel() == 0:
        return None
    shape = shape_of(child) if child is not None else None
    return difference(child, given.reshape(shape) if shape is not None else given, calls)


def read_residual(node: Node, gradient: Tensor, calls: Sequence[RootCall]) -> LossTerm | None:
    """Return the loss term of differences that `node` computes, None where it is none.

    Args:
        node: a power, an absolute value, a norm or a product.
        gradient: of the total loss with respect to its output.
        calls: of modules, with what came out of them.
    """
    name = base_name(node.name())
    if name == "Pow" and getattr(node, "_saved_exponent", None) != _EUCLID:
        return None
    if name == "Log":  # of a hyperbolic cosine
        below = node.next_functions[0][0]
        if below is None or base_name(below.name()) != "Cosh":
            return None
        found = residual_of(below, calls)
    else:
        found = residual_of(node, calls)
    if found is None:
        return None
    apart = (found.prediction.to(torch.float64) - found.target).abs()
    factor = found.factor if isinstance(found.factor, float) else found.factor.to(torch.float64)
    share = gradient.to(torch.float64)
    share = share.reshape(apart.shape) if share.numel() == apart.numel() else share
    wanted, crossed = found.in_columns(found.target), crossing(found.prediction, found.target)
    if name == "LinalgVectorNorm":
        return _euclidean(node, found, apart * factor, share, wanted)
    robust = {"Abs": _ABSOLUTE, "Log": _LOG_COSH}.get(name)
    if robust is not None and not isinstance(factor, float):
        return None
    size = apart * abs(factor) if isinstance(factor, float) else apart * factor.abs()
    if robust is None:
        weights = share * factor * factor * torch.ones_like(apart)
        value = (weights * apart.square()).sum()
        total = weights.sum()
        even = found.in_columns(weights / total * weights.numel())
        moments = torch.stack(
            [even.sum(0), (even * wanted).sum(0), (even * wanted.square()).sum(0)]
        )
        return LossTerm("squares", value, total, moments, found.target, crossed=crossed)
    value = (share * robust.loss(size)).sum()
    moments = robust_moments(wanted * abs(float(factor)), robust.loss, robust.weight)
    total = share.expand_as(size).sum()
    return LossTerm("robust", value, total, moments, found.target, crossed=crossed)


def _euclidean(
    node: Node, found: Residual, apart: Tensor, share: Tensor, wanted: Tensor
) -> LossTerm | None:
    """Read the norm of all differences together, as the square root of a mean."""
    if isinstance(found.factor, Tensor):
        return None
    if shape_of(node) != ():
        return _distances(found, apart, share, wanted)
    count = apart.numel()
    value: Measured = share.sum() * apart.square().sum().sqrt()
    weight = share.sum() * (count**0.5) * abs(found.factor)
    moments = torch.stack(
        [torch.full_like(wanted[0], wanted.shape[0]), wanted.sum(0), wanted.square().sum(0)]
    )
    return LossTerm("squares", value, weight, moments, found.target, power=0.5)


def _distances(found: Residual, apart: Tensor, share: Tensor, wanted: Tensor) -> LossTerm | None:
    """Read the mean of the examples' distances: the best constant is their geometric median."""
    if apart.dim() != 2 or share.numel() != len(apart) or wanted.shape != apart.shape:  # noqa: PLR2004
        return None
    wanted = wanted * abs(float(found.factor))
    best = wanted.mean(0)
    for _ in range(_WEISZFELD):
        weights = 1.0 / (wanted - best).norm(dim=1, keepdim=True).clamp_min(1e-12)
        best = (weights * wanted).sum(0) / weights.sum()
    total = (wanted - best).norm(dim=1).sum()
    moments = torch.stack([torch.full_like(total, len(apart)), total])
    value = (share.reshape(-1) * apart.norm(dim=1)).sum()
    return LossTerm("robust", value, share.sum(), moments, found.target)


@dataclass(frozen=True, slots=True)
class _Robust:
    """A robust loss of one difference, and the weight that it has in a reweighted mean."""

    loss: Callable[[Tensor], Tensor]
    weight: Callable[[Tensor], Tensor] | None


def _log_cosh(size: Tensor) -> Tensor:
    return size + torch.nn.functional.softplus(-2.0 * size) - torch.log(torch.full_like(size, 2.0))


_ABSOLUTE = _Robust(torch.abs, None)
_LOG_COSH = _Robust(_log_cosh, lambda size: torch.tanh(size) / size.clamp_min(1e-12))

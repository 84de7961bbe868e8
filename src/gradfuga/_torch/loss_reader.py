"""Read every term of the loss of one backward pass: torch's own, and those written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .likelihoods import (
    log_minus_sum,
    log_of,
    logits_of,
    picks_of,
    read_binary,
    read_classes,
    read_counts,
    read_picked,
)
from .loss import LossTerm, bent, read_term
from .loss_path import LossPath
from .recovered import RESHAPED, axis_of, factor_of, saved, shape_of, value_of
from .residuals import read_residual
from .spies import RootCall
from .walk import Walk

_NLL = frozenset({"NllLoss", "NllLoss2D"})
_RESIDUALS = frozenset({"Pow", "Mul", "Abs", "LinalgVectorNorm", "Dot"})
_KEPT_OFF_ZERO = frozenset({"Clamp", "ClampMin", "ClampMax", "Add", "View", "Squeeze", "Unsqueeze"})
_NORMALIZED_BY_HAND = frozenset({"Div", "Mul"})
_MOST_STEPS = 5  # ops between a logarithm and the probabilities it is taken of


@dataclass(frozen=True, slots=True)
class _Half:
    """One side of a binary cross entropy: the log-probability of an answer, and its weight."""

    log_p: Tensor
    weight: Tensor
    yes: bool


@dataclass(frozen=True, slots=True)
class _Summed:
    """A normaliser that stands beside the logits it was made of."""

    share: Tensor
    logits: Tensor
    axis: int | None  # of the classes; None for a softplus, which has two, and for counts
    power: float
    counts: bool = False


@final
class LossReader:
    """The terms of one backward pass, read in the hooks of its ops.

    Args:
        path: the ops.
        powers: to which the output of each enters the loss.
        inside: positions of those that lie inside the model.
        calls: of modules, with what came out of them.
    """

    def __init__(
        self, path: Walk, powers: LossPath, inside: frozenset[int], calls: Sequence[RootCall]
    ) -> None:
        self._path, self._inside, self._calls = path, inside, calls
        self._powers = powers
        self._places = {node: place for place, node in enumerate(path.nodes)}
        self._halves: dict[Node, _Half] = {}
        self._summed: dict[int, _Summed] = {}
        self._taken: set[Node] = set()

    def read(self, place: int, gradient: Tensor) -> LossTerm | None:
        """Return the term that the op at `place` completes, None where it completes none.

        Args:
            place: position of the op, in the hook of which this runs.
            gradient: of the total loss with respect to its output.
        """
        gradient = gradient.detach()
        if place in self._summed:
            return self._beside(place, gradient)
        power = self._powers.ops[place]
        if place in self._inside or power is None or _is_empty(self._path.nodes[place]):
            return None
        node = self._path.nodes[place]
        term = self._term(place, node, gradient, power)
        return None if term is None else bent(term, power)

    def _term(self, place: int, node: Node, gradient: Tensor, power: float) -> LossTerm | None:
        name = base_name(node.name())
        if name in _NLL:
            return None if self._is_mixed(place) else read_term(node, gradient)
        if name == "LogSoftmax":
            return self._log_softmax(place, node, gradient)
        if name in ("Log", "Log1P", "LogSigmoid"):
            return self._log(place, node, gradient, power)
        if name == "Sub":
            found = log_minus_sum(node)
            if found is not None:
                self._taken.add(found.node)
                return read_classes(found.value, -gradient, found.axis)
            return None
        if name in ("Logsumexp", "Softplus", "Exp"):
            return self._normalizer(place, node, gradient, power)
        if name in ("Relu", "ClampMin", "Clamp"):
            return _hinge(node, gradient)
        if name in _RESIDUALS:
            return read_residual(node, gradient, self._calls)
        return read_term(node, gradient)

    # -- cross entropy ---------------------------------------------------------------------

    def _is_mixed(self, place: int) -> bool:
        """Whether a log-softmax under a loss of torch's feeds something else too (smoothing)."""
        below = self._path.nodes[place].next_functions[0][0]
        while below is not None and base_name(below.name()) in RESHAPED:
            below = below.next_functions[0][0]
        under = self._places.get(below) if below is not None else None
        if under is None or base_name(self._path.nodes[under].name()) != "LogSoftmax":
            return False
        return not self._feeds_nll_alone(under)

    def _feeds_nll_alone(self, place: int) -> bool:
        above = [consumer for consumer, _ in self._powers.consumers.get(place, ())]
        names = {base_name(self._path.nodes[each].name()): each for each in above}
        if len(above) == 1 and names.keys() <= RESHAPED:
            return self._feeds_nll_alone(above[0])
        return names.keys() <= _NLL

    def _log_softmax(self, place: int, node: Node, gradient: Tensor) -> LossTerm | None:
        log_p = saved(node, "result")
        if log_p is None or self._feeds_nll_alone(place):
            return None
        return read_classes(log_p, -gradient, axis_of(getattr(node, "_saved_dim", -1)))

    def _log(self, place: int, node: Node, gradient: Tensor, power: float) -> LossTerm | None:
        """Read the logarithm of probabilities, according to how they were made."""
        if node in self._taken:
            return None
        log_p, name = log_of(node), base_name(node.name())
        if log_p is None:
            return None
        if name == "LogSigmoid":
            below = node.next_functions[0][0]
            no = below is not None and base_name(below.name()) == "Neg"
            made_by = below.next_functions[0][0] if below is not None and no else below
            return self._half(made_by, _Half(log_p, -gradient, yes=not no))
        base, picked, no = node.next_functions[0][0], None, False
        for _ in range(_MOST_STEPS):
            if base is None:
                return None
            kind = base_name(base.name())
            if kind in ("Index", "Gather") and picked is None:
                picked = picks_of(base)
                if picked is None:
                    return None
            elif kind == "Rsub" or (kind == "Sub" and base.next_functions[0][0] is None):
                no = not no
            elif kind not in _KEPT_OFF_ZERO or len(_learning(base)) != 1:
                break
            base = next(iter(_learning(base)), None)
        if base is None:
            return None
        kind = base_name(base.name())
        if kind == "Sigmoid":
            return self._half(base.next_functions[0][0], _Half(log_p, -gradient, yes=not no))
        if kind == "Exp":
            return _margin(base.next_functions[0][0], log_p, gradient)
        if kind == "Cosh":
            return read_residual(node, gradient, self._calls)
        if kind == "Sum":
            return self._normalizer(place, node, gradient, power)
        if no or not (kind == "Softmax" or kind in _NORMALIZED_BY_HAND):
            return None
        if picked is None:
            return read_classes(log_p, -gradient)
        if kind != "Softmax" and not _sums_to_one(value_of(base, self._calls)):
            return None
        return read_picked(log_p, -gradient, picked)

    def _half(self, made_by: Node | None, half: _Half) -> LossTerm | None:
        """Keep one side of a binary cross entropy until the other one is seen."""
        if made_by is None:
            return None
        other = self._halves.pop(made_by, None)
        if other is None or other.yes == half.yes:
            self._halves[made_by] = half
            return None
        yes, no = (half, other) if half.yes else (other, half)
        shape = shape_of(made_by)
        sides = [yes.log_p, no.log_p, yes.weight, no.weight]
        if shape is None or any(each.numel() != yes.log_p.numel() for each in sides):
            return None
        alike = shape if yes.log_p.numel() == torch.Size(shape).numel() else yes.log_p.shape
        return read_binary(*(each.reshape(alike) for each in sides))

    # -- normalisers beside their logits ---------------------------------------------------

    def _normalizer(
        self, place: int, node: Node, gradient: Tensor, power: float
    ) -> LossTerm | None:
        """Wait for the logits of `logsumexp(z) - z[label]`, of `softplus(z) - y * z`."""
        if node in self._taken:
            return None
        below, name = node.next_functions[0][0], base_name(node.name())
        axis: int | None = None
        if name in ("Softplus", "Exp"):
            made = saved(node, "result")
            value = (
                saved(node, "self") if name == "Softplus" else None if made is None else made.log()
            )
            if value is None or getattr(node, "_saved_beta", 1) != 1:
                return None
        else:
            logits = logits_of(node)
            if logits is None:
                return None
            below, value, axis = logits.node, logits.value, logits.axis
            gradient = gradient.reshape(value.sum(axis, keepdim=True).shape)
        under = self._places.get(below) if below is not None else None
        consumers = self._powers.consumers.get(under, ()) if under is not None else ()
        others = [edge for edge in consumers if not self._leads_to(edge[0], place)]
        alike = all(self._powers.edges[edge] == power for edge in others)
        if under is not None and others and alike:
            self._summed[under] = _Summed(gradient, value, axis, power, counts=name == "Exp")
            return None
        return _margin(below, F.softplus(value), gradient) if name == "Softplus" else None

    def _leads_to(self, below: int, place: int) -> bool:
        """Whether `below` is `place` or only on the way to it (an exponential, a sum)."""
        for _ in range(3):
            if below == place:
                return True
            consumers = {consumer for consumer, _ in self._powers.consumers.get(below, ())}
            if len(consumers) != 1 or base_name(self._path.nodes[below].name()) not in (
                "Exp", "Sum",
            ):  # fmt: skip
                return False
            below = consumers.pop()
        return False

    def _beside(self, place: int, gradient: Tensor) -> LossTerm | None:
        """Read the targets off the gradient of the logits, less what their normaliser adds."""
        found = self._summed[place]
        if found.counts:
            wanted = found.share * found.logits.exp() - gradient
            term = read_counts(found.logits, found.share, _rounded(wanted, found.share))
        elif found.axis is None:
            yes = found.share * torch.sigmoid(found.logits) - gradient
            sides = F.logsigmoid(found.logits), F.logsigmoid(-found.logits)
            no = _rounded(found.share - yes, found.share)
            term = read_binary(*sides, _rounded(yes, found.share), no)
        else:
            shares = torch.softmax(found.logits, found.axis)
            weights = _rounded(found.share * shares - gradient, found.share)
            term = read_classes(torch.log_softmax(found.logits, found.axis), weights, found.axis)
        return bent(term, found.power)


def _is_empty(node: Node) -> bool:
    """Whether an op takes the mean over an empty batch, or makes one."""
    shapes = [shape_of(node), *(shape_of(child) for child in _learning(node))]
    return any(0 in shape for shape in shapes if shape is not None)


def _rounded(weights: Tensor, share: Tensor) -> Tensor:
    """Take off what is left of a difference of nearly equal numbers."""
    return torch.where(weights.abs() < 1e-5 * share.abs(), torch.zeros_like(weights), weights)


def _learning(node: Node) -> list[Node]:
    return [child for child, _ in node.next_functions if child is not None]


def _sums_to_one(p: Tensor | None) -> bool:
    """Whether the rows are probabilities; waits for the device, once in a sampled step."""
    return p is not None and bool(((p.sum(-1) - 1.0).abs() < 1e-3).all())  # noqa: PLR2004


def _sides(node: Node | None) -> Tensor | None:
    """Return the signed factor of the margin `s * z` that `node` made, of a value per example."""
    sign = 1.0
    for _ in range(_MOST_STEPS):
        if node is None:
            return None
        name = base_name(node.name())
        if name == "Neg":
            sign = -sign
        elif name == "Mul":
            factor = factor_of(node)
            if isinstance(factor, Tensor) and factor.dim() > 0:
                return sign * factor
            if not isinstance(factor, float):
                return None
            sign *= factor
        elif name not in ("View", "Squeeze", "Unsqueeze"):
            return None
        node = node.next_functions[0][0] or next(iter(_learning(node)), None)
    return None


def _margin(node: Node | None, each: Tensor, gradient: Tensor) -> LossTerm | None:
    """Read `log(1 + exp(-s * z))`: binary cross entropy with answers s of -1 and 1."""
    factor = _sides(node)
    if factor is None or factor.numel() != each.numel():
        return None
    yes = (factor < 0.0).reshape(each.shape)
    share = gradient.to(torch.float64)
    return read_binary(-each, -each, share * yes, share * ~yes)


def _hinge(node: Node, gradient: Tensor) -> LossTerm | None:
    """Read `max(0, 1 - s * z)`: the best constant is the commoner answer, the other costs 2."""
    below = node.next_functions[0][0]
    if below is None or base_name(below.name()) not in ("Rsub", "Add"):
        return None
    name = base_name(node.name())
    each = saved(node, "result") if name == "Relu" else saved(node, "self")
    factor = _sides(next(iter(_learning(below)), None))
    if each is None or factor is None or factor.numel() != each.numel():
        return None
    each, share = each.clamp_min(0.0).to(torch.float64), gradient.to(torch.float64)
    yes = (factor > 0.0).to(torch.float64)
    moments = torch.stack([(1.0 - yes).sum(), yes.sum()])
    return LossTerm("margin", (share * each).sum(), share.sum(), moments, yes)

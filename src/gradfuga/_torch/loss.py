"""Read a loss off the tape: its target, its value, and what the best constant would reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, final

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .crossing import Crossing, crossing
from .norms import Measured, settled
from .recovered import saved, unspread

if TYPE_CHECKING:
    from ..readings import Floats

    Array = TypeVar("Array", Tensor, Floats)

_MEAN, _SUM = 1, 2  # torch's codes for the reduction of a loss
_MOST_COLUMNS = 65_536  # targets with more columns are pooled over all of them
_LEAST = 1e-300  # lost beside any count or share, and yet one can divide by it
_CONSTANT = 1e-13  # of the mean square: a variance below it is the rounding of constant targets
_FEW = 16  # examples tell whether probabilities add up to 1
_REWEIGHTINGS = 10  # of the best constant of a robust loss; each halves what is left, or better


@dataclass(frozen=True, slots=True)
class LossTerm:
    """One term of the total loss, as a sampled backward pass showed it.

    Attributes:
        family: "classes" (cross entropy), "binary", "squares", "robust" (Huber, L1), "counts"
            (Poisson) or "margin" (hinge).
        value: what the term adds to the total loss, 0-d.
        weight: what one unit of the mean elementwise loss adds to the total loss, 0-d.
        moments: sufficient statistics of the targets, for pooling over batches: class weights
            `[K]`, of the two answers `[2]` for "margin"; count, sum and sum of squares by column
            `[3, K]`; for "robust" the number of targets and the summed loss of their best
            constant `[2]`.
        target: the batch's targets, detached.
        least: what the term adds at the best possible prediction: the targets' own entropy where
            they are probabilities, such as grey values under binary cross entropy.
        losses: of every target, unreduced and shaped like `target`, where they were read.
        power: to which the mean elementwise loss is taken: 0.5 for its square root. `weight` is
            then what one unit of that power adds.
        crossed: shapes that broadcasting has crossed, each prediction against all targets.
        log_total: how far the classes' log-probabilities are from adding up to 1, as the mean size
            of the sum's logarithm; 0 where they are normalised on the way.
    """

    family: str
    value: Measured
    weight: Measured
    moments: Tensor | Floats
    target: Tensor
    least: Tensor | float = 0.0
    losses: Tensor | None = None
    power: float = 1.0
    crossed: Crossing | None = None
    log_total: Measured = 0.0


@final
@dataclass
class TargetPool:
    """The targets of one loss term, pooled over the batches that were looked at."""

    moments: Tensor | Floats | None = None

    def takes(self, term: LossTerm) -> bool:
        """Whether `term` is one more batch of what was pooled so far."""
        return self.moments is not None and self.moments.shape == term.moments.shape

    def add(self, term: LossTerm) -> Measured:
        """Pool `term`'s targets; return what the best constant for all adds to the loss here.

        The batch itself is part of the pool: the constant is fitted to it too, so that on average
        no constant in time does better than this.
        """
        here = _on_host(term.moments)
        self.moments = self.moments + here if self.takes(term) else here  # type: ignore[operator]  # takes implies moments
        return _constant_loss(term, here, self.moments)

    def constant(self, term: LossTerm) -> Measured:
        """Return what the best constant adds to the loss over all targets seen so far."""
        assert self.moments is not None
        return _constant_loss(term, self.moments, self.moments)


def _on_host(moments: Tensor | Floats) -> Tensor | Floats:
    """Return moments on the CPU as NumPy's: for a few numbers it takes a tenth of torch's time."""
    if not isinstance(moments, Tensor):
        return moments
    moments = moments.to(torch.float64)
    return moments.numpy() if moments.is_cpu else moments


def _constant_loss(term: LossTerm, targets: Tensor | Floats, pool: Tensor | Floats) -> Measured:
    weight = settled(term.weight) if isinstance(term.weight, Tensor) else term.weight
    mean = _best(term.family, targets, pool)  # type: ignore[type-var]  # both are on one side
    loss = mean**term.power * weight
    return loss if isinstance(loss, Tensor) else float(loss)


def _best(family: str, targets: Array, pool: Array) -> Measured:
    """Return the mean loss on `targets` of the constant that is best for `pool`; both moments."""
    loss: Measured
    if family == "classes":
        share = pool / (pool.sum() + _LEAST)
        loss = -(targets * _log(share)).sum() / (targets.sum() + _LEAST)
        return loss
    if family == "margin":
        loss = 2.0 * targets[pool.argmin()] / (targets.sum() + _LEAST)
        return loss
    count = targets[0] + _LEAST
    if family == "robust":
        loss = targets[1] / count
        return loss
    share = count / count.sum()  # of each column; weighted ones count by their weights
    best, mean = pool[1] / (pool[0] + _LEAST), targets[1] / count
    if family == "counts":
        loss = ((best - mean * _log(best)) * share).sum()
        return loss
    if family == "binary":
        best = best.clip(0, 1)
        loss = -((mean * _log(best) + (1 - mean) * _log(1 - best)) * share).sum()
        return loss
    square = targets[2] / count
    variance = square - mean * mean
    varies = variance > _CONSTANT * square
    loss = ((variance * varies + (mean - best) ** 2) * share).sum()
    return loss


def _log(share: Array) -> Array:
    """Return log(share), finite at 0: a share is 0 only where what it multiplies is 0 too."""
    logarithm = Tensor.log if isinstance(share, Tensor) else np.log  # type: ignore[redundant-expr]  # mypy looks at one kind at a time
    log: Array = logarithm(share + _LEAST)
    return log


def bent(term: LossTerm, power: float) -> LossTerm:
    """Return `term` where the total holds that power of it, not the term itself.

    As read, it is what the total falls by if the term does: of a power p that is p times as much.
    """
    if power == 1.0:
        return term
    mean, value = term.value / term.weight, term.value / power
    return replace(term, value=value, weight=value / mean**power, power=power * term.power)


def read_term(node: Node, grad_output: Tensor) -> LossTerm | None:
    """Return the loss term that one of torch's own losses computes, None for other nodes.

    Runs in the node's hook, while its saved tensors are alive.
    """
    name = base_name(node.name())
    reader = {
        "NllLoss": _classes,
        "NllLoss2D": _classes,
        "MseLoss": _squares,
        "BinaryCrossEntropy": _binary,
        "BinaryCrossEntropyWithLogits": _binary,
        "SmoothL1Loss": _squares,
        "HuberLoss": _squares,
    }.get(name)
    return None if reader is None else reader(node, grad_output.detach())


def columns_of(target: Tensor, *, like: Tensor | None = None) -> Tensor:
    """Return the targets as [N, K] in float64.

    A constant has as many numbers as the prediction `like` has columns, also where the prediction
    is spread over several targets each.
    """
    flat = target.to(torch.float64)
    if (
        like is not None
        and like.numel() < flat.numel()
        and (like.dim() <= 1 or like[0].numel() == 1)
    ):
        return flat.reshape(-1, 1)
    if flat.dim() <= 1 or flat[0].numel() > _MOST_COLUMNS:
        return flat.reshape(-1, 1)
    return flat.reshape(flat.shape[0], -1)


def _moments(target: Tensor, *, like: Tensor | None = None) -> Tensor:
    columns = columns_of(target, like=like)
    count = torch.full_like(columns[0], columns.shape[0])
    return torch.stack([count, columns.sum(0), columns.square().sum(0)])


def _classes(node: Node, gradient: Tensor) -> LossTerm | None:
    log_p, target = saved(node, "self"), saved(node, "target")
    if log_p is None or target is None or log_p.dim() < 1 or target.numel() == 0:
        return None
    if log_p.dim() == 1:
        log_p, target = log_p[None], target.reshape(1)
    classes = log_p.shape[1]
    weights = saved(node, "weight")
    weights = torch.ones(classes, device=log_p.device) if weights is None else weights
    weights = weights.to(torch.float64)
    ignored = target == int(getattr(node, "_saved_ignore_index", -100))
    safe = target.masked_fill(ignored, 0)
    each = weights[safe].masked_fill(ignored, 0.0)
    losses = -log_p.gather(1, safe.unsqueeze(1)).squeeze(1).to(torch.float64) * each
    total = each.sum().clamp_min(1e-300)
    reduction = int(getattr(node, "_saved_reduction", _MEAN))
    mean = losses.sum() / total
    if reduction == _MEAN:
        weight = gradient.to(torch.float64).sum()
    elif reduction == _SUM:
        weight = gradient.to(torch.float64).sum() * total
    else:
        weight = (gradient.to(torch.float64) * each).sum()
        mean = (gradient * losses).sum() / weight
    counts = torch.zeros(classes, dtype=torch.float64, device=log_p.device)
    counts.scatter_add_(0, safe.reshape(-1), each.reshape(-1))
    return LossTerm("classes", mean * weight, weight, counts, target, log_total=_log_total(log_p))


def _log_total(log_p: Tensor) -> Measured:
    """Return the mean size of the logarithm of what a few probabilities `[N, K, ...]` add up to."""
    first = log_p if log_p.dim() == 2 else log_p[:1].flatten(2)[0].T  # noqa: PLR2004 (no pixels)
    few = first[:: -(-len(first) // _FEW)].detach().float()
    return settled(torch.logsumexp(few, 1).abs().mean())


def _sides(node: Node) -> tuple[str, str] | None:
    """Return which saved tensor is the prediction and which the target."""
    sides = [child is not None for child, _ in node.next_functions[:2]]
    if sides[0] and not any(sides[1:]):
        return "self", "target"
    if not sides[0]:
        return "target", "self"
    return None  # both learn: there is no target


def _weight(node: Node, gradient: Tensor, target: Tensor) -> Tensor:
    """Return what one unit of the mean elementwise loss adds to the total loss."""
    if int(getattr(node, "_saved_reduction", _MEAN)) == _SUM:
        return gradient.to(torch.float64).sum() * target.numel()
    return gradient.to(torch.float64).sum()  # the mean, or the sum of the elements' weights


def _squares(node: Node, gradient: Tensor) -> LossTerm | None:
    sides = _sides(node)
    if sides is None:
        return None
    prediction, target = saved(node, sides[0]), saved(node, sides[1])
    if prediction is None or target is None or target.numel() == 0:
        return None
    error = (prediction - target).to(torch.float64)
    weight = _weight(node, gradient, error)
    wanted, own = target.expand_as(error), unspread(prediction)
    crossed = crossing(own, wanted)
    name = base_name(node.name())
    if name == "MseLoss":
        value = error.square().mean() * weight
        moments = _moments(wanted, like=own)
        return LossTerm("squares", value, weight, moments, target, crossed=crossed)
    knee = float(getattr(node, "_saved_beta", getattr(node, "_saved_delta", 1.0)) or 1.0)
    scale = 1.0 / knee if name == "SmoothL1Loss" else 1.0
    value = scale * _huber(error, knee).mean() * weight
    moments = robust_moments(
        columns_of(wanted, like=own),
        lambda apart: scale * _huber(apart, knee),
        lambda apart: knee / apart.clamp_min(knee),
    )
    return LossTerm("robust", value, weight, moments, target, crossed=crossed)


def _huber(error: Tensor, knee: float) -> Tensor:
    size = error.abs()
    return torch.where(size < knee, 0.5 * size.square(), knee * (size - 0.5 * knee))


def robust_moments(
    target: Tensor, loss: Callable[[Tensor], Tensor], weight: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """Return the number of targets and the summed loss of their best constant, `[2]`.

    Args:
        target: `[N, K]`; a constant for each column.
        loss: of a difference.
        weight: that the difference has in a reweighted mean; None where the median is best. The
            constant by iterated reweighting, from the median on (Huber 1964).
    """
    best = target.median(0).values
    for _ in range(_REWEIGHTINGS if weight is not None else 0):
        weights = weight((target - best).abs())  # type: ignore[misc]  # not None
        best = (weights * target).sum(0) / weights.sum(0).clamp_min(_LEAST)
    total = loss((target - best).abs()).sum()
    return torch.stack([torch.full_like(total, target.numel()), total])


def _binary(node: Node, gradient: Tensor) -> LossTerm | None:
    prediction, target = saved(node, "self"), saved(node, "target")
    if prediction is None or target is None or target.numel() == 0:
        return None
    prediction, truth = prediction.to(torch.float64), target.to(torch.float64)
    if base_name(node.name()) == "BinaryCrossEntropy":
        log_p = prediction.log().clamp_min(-100)
        log_q = (1 - prediction).log().clamp_min(-100)
    else:
        log_p = torch.nn.functional.logsigmoid(prediction)
        log_q = torch.nn.functional.logsigmoid(-prediction)
    each = -(truth * log_p + (1 - truth) * log_q)
    weight = _weight(node, gradient, each)
    entropy = torch.xlogy(truth, truth) + torch.xlogy(1 - truth, 1 - truth)
    least = entropy.mean().neg() * weight
    value = each.mean() * weight
    return LossTerm("binary", value, weight, _moments(truth), target, least=least)

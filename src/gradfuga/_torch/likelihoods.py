"""Read a likelihood that a script writes out: whatever is a weighted sum of log-probabilities.

Where the total loss is `-sum(T log p)` with weights `T` that do not learn, its gradient with
respect to `log p` is `-T`: the targets stand in the gradient, however the script combined them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .loss import LossTerm
from .recovered import axis_of, saved, shape_of, value_of

# Chosen: probabilities that a script has kept off zero by an epsilon do not sum to 1 exactly, and
# the weights of examples, as sums of gradients in float32, differ by their rounding.
_CLOSE = 1e-3
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Picks:
    """Where a script picked one class of each example.

    Attributes:
        labels: `[N]`.
        classes: how many there are.
    """

    labels: Tensor
    classes: int


def picks_of(node: Node) -> Picks | None:
    """Return the labels by which `p[rows, labels]` or `p.gather(1, labels)` picks, or None."""
    if base_name(node.name()) == "Gather":
        labels, axis = saved(node, "index"), getattr(node, "_saved_dim", 0)
        below = node.next_functions[0][0]
        sizes = shape_of(below) if below is not None and axis_of(axis) in (1, -1) else None
    else:
        indices: tuple[object, ...] = getattr(node, "_saved_indices", ())
        given = [each for each in indices if isinstance(each, Tensor)]
        sizes = getattr(node, "_saved_self_sym_sizes", None)
        labels = given[-1].detach() if len(given) == 2 else None  # noqa: PLR2004 (rows, labels)
    if labels is None or sizes is None or len(sizes) != 2:  # noqa: PLR2004 ([N, K])
        return None
    rows, classes = sizes
    if labels.dtype != torch.int64 or labels.numel() != rows:
        return None
    return Picks(labels.reshape(-1), int(classes))


def read_classes(log_p: Tensor, weights: Tensor, axis: int = -1) -> LossTerm:
    """Return the term `-sum(weights * log_p)`: cross entropy against any targets.

    Weights that are all negative are those of a loss whose sign is wrong: so are then the term's.
    Its value is NaN where the weights are those of no targets (some negative, or examples of one
    class weighed differently, as the returns of a policy are) or where the probabilities do not
    sum to 1: then nobody knows the best constant.

    Args:
        log_p: log-probabilities.
        weights: of the same shape.
        axis: of the classes.
    """
    classes = log_p.shape[axis]
    log_p = log_p.movedim(axis, -1).reshape(-1, classes)
    weights = weights.movedim(axis, -1).reshape(-1, classes)
    sign = _sign(weights)
    weights = weights * sign
    each = weights.sum(-1, dtype=torch.float64)
    total = each.sum()
    labels = weights.argmax(-1)
    hard = weights.amax(-1) >= (1.0 - _CLOSE) * each
    sound = (weights >= -_CLOSE * each.abs().amax()).all() & _even(each, labels, classes)
    sums = torch.logsumexp(log_p.to(torch.float64), -1).abs().amax() <= _CLOSE
    clean = weights.clamp_min(0.0)
    value = -(clean * log_p.masked_fill(clean == 0.0, 0.0)).sum(dtype=torch.float64)
    shares = clean.to(torch.float64) / each.clamp_min(_TINY).unsqueeze(-1)
    least = -(clean * torch.log(shares.clamp_min(_TINY))).sum(dtype=torch.float64)
    counts = clean.sum(0, dtype=torch.float64) / total.clamp_min(_TINY) * len(each)
    # a gradient that is no number says nothing about the targets
    target = labels if log_p.is_cpu and bool(hard.all()) else shares.nan_to_num()
    known = torch.where(sound & sums, value, torch.full_like(value, torch.nan))
    return LossTerm("classes", sign * known, sign * total, counts, target, least=sign * least)


def read_picked(log_p: Tensor, weights: Tensor, picks: Picks) -> LossTerm:
    """Return the term `-sum(weights * log_p)` of log-probabilities that were picked already."""
    log_p, weights = log_p.reshape(-1), weights.reshape(-1).to(torch.float64)
    sign = _sign(weights)
    weights = weights * sign
    total = weights.sum()
    sound = (weights >= 0.0).all() & _even(weights, picks.labels, picks.classes)
    value = -(weights * log_p).sum()
    counts = torch.zeros(picks.classes, dtype=torch.float64, device=weights.device)
    counts.scatter_add_(0, picks.labels, weights / total * len(weights))
    known = torch.where(sound, value, torch.full_like(value, torch.nan))
    return LossTerm("classes", sign * known, sign * total, counts, picks.labels)


def _sign(weights: Tensor) -> Tensor:
    """Return -1 where the weights add up to less than nothing, else 1."""
    return torch.where(weights.sum() < 0.0, -1.0, 1.0)


def read_binary(log_p: Tensor, log_q: Tensor, yes: Tensor, no: Tensor) -> LossTerm:
    """Return the term `-sum(yes * log_p + no * log_q)`: binary cross entropy.

    Args:
        log_p: log-probability of a yes.
        log_q: of a no.
        yes: weight of a yes; yes / (yes + no) is the target.
        no: weight of a no.
    """
    yes, no = yes.to(torch.float64), no.to(torch.float64)
    each = yes + no
    target = (yes / each.clamp_min(_TINY)).clamp(0.0, 1.0)
    labels = (target > 0.5).long().reshape(-1)  # noqa: PLR2004 (the likelier answer)
    real = (torch.minimum(yes, no) >= -_CLOSE * each.abs().amax()).all()
    sound = real & _even(each.reshape(-1), labels, 2)
    value = -(_product(yes, log_p) + _product(no, log_q)).sum()
    least = -(torch.xlogy(yes, target) + torch.xlogy(no, 1.0 - target)).sum()
    columns = target.reshape(len(target), -1) if target.dim() > 1 else target.reshape(-1, 1)
    weights = (each / each.sum() * each.numel()).reshape(columns.shape)
    moments = torch.stack(
        [weights.sum(0), (weights * columns).sum(0), (weights * columns.square()).sum(0)]
    )
    known = torch.where(sound, value, torch.full_like(value, torch.nan))
    return LossTerm("binary", known, each.sum(), moments, target.float().nan_to_num(), least=least)


def read_counts(log_rate: Tensor, share: Tensor, wanted: Tensor) -> LossTerm:
    """Return the term `sum(share * exp(log_rate) - wanted * log_rate)`: Poisson's likelihood.

    Args:
        log_rate: the logarithm of the expected count.
        share: of every example in the total loss.
        wanted: that share times the count.
    """
    share, wanted = share.to(torch.float64), wanted.to(torch.float64)
    rate = log_rate.to(torch.float64)
    count = wanted / share.abs().clamp_min(_TINY)
    value = (share * rate.exp() - wanted * rate).sum()
    least = (wanted - torch.xlogy(wanted, count)).sum()
    columns = count.reshape(len(count), -1) if count.dim() > 1 else count.reshape(-1, 1)
    weights = (share / share.sum() * share.numel()).reshape(columns.shape)
    moments = torch.stack([weights.sum(0), (weights * columns).sum(0)])
    low = (count >= -_CLOSE * count.abs().amax()).all()
    known = torch.where(low, value, torch.full_like(value, torch.nan))
    return LossTerm("counts", known, share.sum(), moments, count.nan_to_num(), least=least)


def _product(weights: Tensor, logs: Tensor) -> Tensor:
    """Return weights * logs, 0 where a weight is: a probability of 0 has no logarithm."""
    return weights * logs.to(torch.float64).masked_fill(weights == 0.0, 0.0)


def _even(each: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Whether all examples weigh the same, or all of one class do; 0 is one left out."""
    left_in = each > 0.0
    high = each.amax()
    low = torch.where(left_in, each, high).amin()
    lows = torch.full((classes,), torch.inf, dtype=each.dtype, device=each.device)
    highs = torch.zeros(classes, dtype=each.dtype, device=each.device)
    lows.scatter_reduce_(0, labels, torch.where(left_in, each, torch.inf), "amin")
    highs.scatter_reduce_(0, labels, each, "amax")
    alike = (lows >= (1.0 - _CLOSE) * highs).all()
    return (low >= (1.0 - _CLOSE) * high) | alike


def log_of(node: Node) -> Tensor | None:
    """Return what a logarithm made."""
    given = saved(node, "self")
    if given is None:
        return None
    name = base_name(node.name())
    if name == "LogSigmoid":
        return torch.nn.functional.logsigmoid(given)
    return given.log1p() if name == "Log1P" else given.log()


def log_minus_sum(node: Node) -> Logits | None:
    """Return `z - logsumexp(z)` at the subtraction, None where it is another one.

    The op is then the one that made the logarithm, the value that of the difference.
    """
    inputs = [child for child, _ in node.next_functions]
    if len(inputs) != 2 or None in inputs:  # noqa: PLR2004
        return None
    summed = inputs[1]
    for _ in range(3):
        if summed is None:
            return None
        name = base_name(summed.name())
        if name in ("Logsumexp", "Log"):
            break
        summed = summed.next_functions[0][0] if name in ("View", "Unsqueeze") else None
    logits = logits_of(summed) if summed is not None else None
    if logits is None or summed is None or logits.node is not inputs[0]:
        return None
    return Logits(summed, torch.log_softmax(logits.value, logits.axis), logits.axis)


@dataclass(frozen=True, slots=True)
class Logits:
    """What a sum of exponentials is taken of.

    Attributes:
        node: the op that made them.
        value: them, or them shifted by a constant for each example.
        axis: of the classes.
    """

    node: Node
    value: Tensor
    axis: int


def logits_of(node: Node) -> Logits | None:
    """Return the logits of `logsumexp(z)` or of `log(sum(exp(z)))`."""
    below = node.next_functions[0][0]
    if below is None:
        return None
    if base_name(node.name()) == "Logsumexp":
        value, axis = saved(node, "self"), _lone_axis(node)
        return None if value is None or axis is None else Logits(below, value, axis)
    if base_name(node.name()) != "Log" or base_name(below.name()) != "Sum":
        return None
    power = below.next_functions[0][0]
    axis = _lone_axis(below)
    if power is None or base_name(power.name()) != "Exp" or axis is None:
        return None
    value, made_by = value_of(power, ()), power.next_functions[0][0]
    return None if value is None or made_by is None else Logits(made_by, value.log(), axis)


def _lone_axis(node: Node) -> int | None:
    """Return the one axis that an op sums over, None for several."""
    axes: tuple[int, ...] = getattr(node, "_saved_dim", ())
    return axis_of(*axes) if len(axes) == 1 else None

"""The parameter tier: norms of weight, gradient and real update of every parameter."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from .joined import AnyOptimizer
from .norms import Measured, dense, norms, settled
from .peaks import peaks
from .sharding import local

# A share of this many values has a standard error of at most 0.016.
_MOST_COUNTED = 1_024
# Copies of the weights are kept for the next sample up to this size: on a CPU new memory costs
# five times the copying (7.8 ms against 1.5 ms for 3.7 million values).
_KEPT_BYTES = 2**28
_SAME = 1e-4  # of their size: units that are no further apart differ by rounding, added up
_FLOAT32_BYTES = 4
NUMPY = frozenset({torch.float32, torch.float64})  # what NumPy reads where it lies


@dataclass(frozen=True, slots=True)
class Before:
    """The optimizer's parameters just before its step.

    `weights` are copies, `gradient` the norms of what the optimizer is given (after clipping),
    None where there is no gradient.
    """

    parameters: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    gradient: tuple[Measured | None, ...]


@dataclass(slots=True)
class SeenGradient:
    """|gradient| of one parameter as a backward pass left it.

    `tensor` and `version` tell whether the gradient is still that: clipping changes it in place.
    `peak` is its largest absolute value, where that was asked for.
    """

    tensor: weakref.ref[Tensor]
    version: int
    norm: Measured
    peak: Measured | None = None

    def is_still(self, gradient: Tensor) -> bool:
        """Whether `gradient` is the tensor that was measured, unchanged."""
        gradient = local(gradient)
        return self.tensor() is gradient and self.version == gradient._version  # noqa: SLF001


def trainable(optimizer: AnyOptimizer) -> tuple[Tensor, ...]:
    """Return the optimizer's parameters that train, once each."""
    found: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if isinstance(parameter, Tensor) and parameter.requires_grad:
                found[id(parameter)] = parameter
    return tuple(found.values())


@torch.no_grad()
def see_gradients(
    parameters: Iterable[Tensor], *, with_peaks: bool = False
) -> dict[int, SeenGradient]:
    """Measure the gradients that are there, by the identity of their parameter."""
    held = [(id(p), local(gradient)) for p in parameters if (gradient := p.grad) is not None]
    return see(held, with_peaks=with_peaks)


@torch.no_grad()
def see(held: Sequence[tuple[int, Tensor]], *, with_peaks: bool) -> dict[int, SeenGradient]:
    """Measure gradients, each beside the identity of its parameter."""
    gradients = [gradient for _, gradient in held]
    measured = norms(gradients)
    largest = peaks(gradients) if with_peaks else [None] * len(gradients)
    return {
        key: SeenGradient(weakref.ref(gradient), gradient._version, norm, peak)  # noqa: SLF001
        for (key, gradient), norm, peak in zip(held, measured, largest, strict=True)
    }


@torch.no_grad()
def before_step(
    parameters: Sequence[Tensor],
    seen: Mapping[int, SeenGradient],
    spare: Sequence[Tensor] = (),
) -> Before:
    """Copy the weights and measure the gradients that the optimizer is given.

    Args:
        parameters: the optimizer's.
        seen: what the backward pass left: a gradient unchanged since is not measured again.
        spare: the last sample's copies, to be written over.
    """
    return Before(
        parameters=tuple(parameters),
        weights=_copies(parameters, spare),
        gradient=given_norms(parameters, seen),
    )


@torch.no_grad()
def given_norms(
    parameters: Sequence[Tensor], seen: Mapping[int, SeenGradient]
) -> tuple[Measured | None, ...]:
    """Return |gradient| of each parameter now, None where it has none.

    One that is unchanged since `seen` is not measured again.
    """
    gradient: list[Measured | None] = [None] * len(parameters)
    changed: list[tuple[int, Tensor]] = []
    for place, parameter in enumerate(parameters):
        given = parameter.grad
        if given is None:
            continue
        known = seen.get(id(parameter))
        if known is not None and known.is_still(given):
            gradient[place] = known.norm
        else:
            changed.append((place, given))
    for (place, _), norm in zip(changed, norms([given for _, given in changed]), strict=True):
        gradient[place] = norm
    return tuple(gradient)


def merged(pieces: Sequence[Before]) -> Before:
    """Return one `Before` of optimizers that step one after the other."""
    return Before(
        parameters=tuple(chain.from_iterable(piece.parameters for piece in pieces)),
        weights=tuple(chain.from_iterable(piece.weights for piece in pieces)),
        gradient=tuple(chain.from_iterable(piece.gradient for piece in pieces)),
    )


def _copies(parameters: Sequence[Tensor], spare: Sequence[Tensor]) -> tuple[Tensor, ...]:
    parameters = [local(p) for p in parameters]
    alike = len(spare) == len(parameters) and all(
        copy.shape == p.shape and copy.dtype == p.dtype and copy.device == p.device
        for copy, p in zip(spare, parameters, strict=True)
    )
    if not alike or not parameters:  # of a frozen model: torch refuses empty lists
        return tuple(p.clone() for p in parameters)
    weights = tuple(spare)
    torch._foreach_copy_(weights, tuple(parameters))
    return weights


def kept(copies: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the copies that the next sample may write over: on a CPU, and not too large."""
    size = sum(copy.numel() * copy.element_size() for copy in copies if copy.is_cpu)
    here = all(copy.is_cpu and copy.layout is torch.strided for copy in copies)
    return tuple(copies) if here and size <= _KEPT_BYTES else ()


@torch.no_grad()
def updates(before: Before) -> list[Tensor]:
    """Return w before - w after of each parameter; uses up the copies.

    The difference of half-precision weights is taken in float32: it need not fit their format.
    """
    out = list(before.weights)
    full = [n for n, copy in enumerate(before.weights) if copy.element_size() >= _FLOAT32_BYTES]
    half = [n for n, copy in enumerate(before.weights) if copy.element_size() < _FLOAT32_BYTES]
    for places, widen in ((full, False), (half, True)):
        if not places:
            continue
        copies = [before.weights[n].float() if widen else before.weights[n] for n in places]
        torch._foreach_sub_(copies, [local(before.parameters[n]) for n in places])
        for place, copy in zip(places, copies, strict=True):
            out[place] = copy
    return out


def zero_shares(tensors: Sequence[Tensor | None]) -> list[Measured | None]:
    """Return the share of exact zeros among the values of each tensor, None where there is none.

    Of a large tensor a sample is taken.
    """
    out: list[Measured | None] = [None] * len(tensors)
    held = [(n, some(dense(t), _MOST_COUNTED)) for n, t in enumerate(tensors) if t is not None]
    if held and all(values.is_cpu and values.dtype in NUMPY for _, values in held):
        # the norm of order 0 counts what is not zero, twice as fast as one call for each
        counts = torch._foreach_norm([values for _, values in held], 0)  # noqa: SLF001
        for (place, values), count in zip(held, counts, strict=True):
            out[place] = 1.0 - count.item() / max(values.numel(), 1)
        return out
    for place, values in held:
        out[place] = 1.0 - settled(torch.count_nonzero(values)) / max(values.numel(), 1)
    return out


def alike_units(weights: Sequence[Tensor]) -> list[Measured | None]:
    """Return 1 for each weight whose units are all the same, else 0; None for a bias, a scale.

    Rounding, which differs from one row of a product to another, makes them no different.
    """
    out: list[Measured | None] = []
    for weight in map(local, weights):
        if weight.dim() < 2 or len(weight) < 2 or weight.layout is not torch.strided:  # noqa: PLR2004
            out.append(None)
        elif weight.is_cpu and not _same(weight[:2]):
            out.append(0.0)  # as nearly always
        else:
            out.append(settled(_same(weight).to(torch.float32)))
    return out


def _same(rows: Tensor) -> Tensor:
    rows = rows.detach()
    apart: Tensor = torch.dist(rows, rows[:1].expand_as(rows))
    size: Tensor = torch.linalg.vector_norm(rows)
    return apart <= _SAME * size


def nonfinite_count(tensor: Tensor, norm: Measured | None) -> Measured:
    """Return the number of NaN and infinite values; a finite norm tells that there are none."""
    if isinstance(norm, float) and math.isfinite(norm):
        return 0.0
    return torch.count_nonzero(~torch.isfinite(dense(tensor)))


def some(values: Tensor, limit: int) -> Tensor:
    """Return at most about `limit` of the values.

    The stride is odd, so that it meets every column of a matrix whose width is a power of two.
    """
    count = values.numel()
    return values if count <= limit else values.reshape(-1)[:: -(-count // limit) | 1]

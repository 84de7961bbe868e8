"""Normalization: the three factors whose product is its gain.

With the gradient d at its output, a normalization layer hands on ``P (gamma d / sigma)``, where P
takes off the mean (not RMSNorm's) and the component along the normalised input. So its gain is
``|gamma d|/|d|`` times ``|gamma d/sigma|/|gamma d|`` times ``|P u|/|u|``, exactly: sigma is one
number for all the values that P mixes, so that both commute (theory, exact decomposition).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._portions import portions
from ._squares import squares_by_channel, sum_of_squares, total, wide

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = frozenset({"NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm"})
_LAYER = frozenset({"NativeLayerNorm", "FusedRmsNorm"})
_GROUP = frozenset({"NativeGroupNorm"})


@dataclass(frozen=True, slots=True)
class Squares:
    """Squared norms of the gradient on its way through, and the mean of 1/sigma^2; all 0-d."""

    arriving: Tensor
    after_gamma: Tensor
    after_sigma: Tensor
    inverse_variance: Tensor


@final
class NormalizationStatistic(AbstractStatistic):
    """Measures BatchNorm, InstanceNorm (a batch norm inside), LayerNorm, GroupNorm, fused RMSNorm.

    * ``inverse_sigma``: rms of the 1/sigma that was applied; the running one in eval mode.
    * ``affine_gain``: ``|gamma d| / |d|``.
    * ``sigma_gain``: ``|gamma d / sigma| / |gamma d|``.
    * ``projection_gain``: ``|P u| / |u|``, from the gradient that really left; absent where the
      input needs none. 1 in eval mode.

    The product of the three gains is the op's gain. Where the gradient is zero they are NaN.
    A composed RMSNorm (PyTorch makes it so on a CPU) is several ops and has no such node.
    """

    code: ClassVar[str] = "normalization"
    nodes: ClassVar[frozenset[str]] = _BATCH | _LAYER | _GROUP

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the normalization behind `view`."""
        squares = _squares(view)
        if squares is None:
            return {}
        measured = {
            "inverse_sigma": squares.inverse_variance.sqrt(),
            "affine_gain": (squares.after_gamma / squares.arriving).sqrt_(),
            "sigma_gain": (squares.after_sigma / squares.after_gamma).sqrt_(),
        }
        leaving = view.grad_inputs[0] if view.grad_inputs else None
        if leaving is not None:
            gain = sum_of_squares(leaving) / squares.after_sigma
            measured["projection_gain"] = gain.sqrt_()
        return measured


def _squares(view: NodeView) -> Squares | None:
    kind, gradient = view.name.partition("Backward")[0], view.grad_output
    if gradient.numel() == 0:
        return None
    weight = view.saved("weight")
    gamma = None if weight is None or weight.numel() == 0 else wide(weight).square()
    if kind in _BATCH:
        return _by_channel(gradient, gamma, _inverse_variance(view))
    sigma = view.saved("result1" if kind == "FusedRmsNorm" else "result2")
    if sigma is None or sigma.numel() == 0:
        return None
    inverse = wide(sigma).square()
    if kind in _GROUP:
        return _by_group(gradient, gamma, inverse)
    return _by_row(gradient, gamma, inverse)


def _inverse_variance(view: NodeView) -> Tensor | None:
    """Return 1/sigma^2 of each channel as the batch norm applied it, [C]."""
    saved = view.saved("result2")
    if view.setting("training") and saved is not None and saved.numel() > 0:
        return wide(saved).square()
    variance, eps = view.saved("running_var"), view.setting("eps")
    eps = view.setting("epsilon") if eps is None else eps
    if variance is None or eps is None:
        return None
    return wide(variance).add(eps).reciprocal_()


def _by_channel(gradient: Tensor, gamma: Tensor | None, inverse: Tensor | None) -> Squares | None:
    """Read a batch norm: gamma and sigma belong to the channel; gradient [B, C, ...]."""
    if inverse is None:
        return None
    arriving = squares_by_channel(gradient)
    scaled = arriving if gamma is None else arriving * gamma
    return Squares(arriving.sum(), scaled.sum(), scaled.dot(inverse), inverse.mean())


def _by_group(gradient: Tensor, gamma: Tensor | None, inverse: Tensor) -> Squares:
    """Read a group norm: gamma belongs to the channel, sigma to (example, group), [B, G]."""
    parts = [part for (part,) in portions((gradient,))]
    sigmas = inverse.chunk(len(parts))
    return _joined(
        [_of_groups(part, gamma, sigma) for part, sigma in zip(parts, sigmas, strict=True)],
        inverse,
    )


def _of_groups(gradient: Tensor, gamma: Tensor | None, inverse: Tensor) -> Squares:
    batch, channels = gradient.shape[:2]
    arriving = wide(gradient).square().reshape(batch, channels, -1).sum(2)
    scaled = arriving if gamma is None else arriving * gamma
    grouped = scaled.reshape(batch, inverse.shape[1], -1).sum(2)
    return Squares(arriving.sum(), scaled.sum(), (grouped * inverse).sum(), inverse)


def _by_row(gradient: Tensor, gamma: Tensor | None, inverse: Tensor) -> Squares:
    """Read a layer norm: gamma belongs to the place in a row, sigma to the row."""
    inverse = inverse.reshape(-1)
    gamma = None if gamma is None else gamma.reshape(-1)
    parts = [part for (part,) in portions((gradient.reshape(inverse.numel(), -1),))]
    sigmas = inverse.chunk(len(parts))
    return _joined(
        [_of_rows(part, gamma, sigma) for part, sigma in zip(parts, sigmas, strict=True)],
        inverse,
    )


def _of_rows(gradient: Tensor, gamma: Tensor | None, inverse: Tensor) -> Squares:
    squared = wide(gradient).square()
    if gamma is None:
        by_row = squared.sum(1)
        arriving = scaled = by_row.sum()
    else:
        by_row = squared.mv(gamma)
        arriving, scaled = squared.sum(), by_row.sum()
    return Squares(arriving, scaled, by_row.dot(inverse), inverse)


def _joined(parts: list[Squares], inverse: Tensor) -> Squares:
    return Squares(
        total([part.arriving for part in parts]),
        total([part.after_gamma for part in parts]),
        total([part.after_sigma for part in parts]),
        inverse.mean(),
    )


STATISTIC = NormalizationStatistic()

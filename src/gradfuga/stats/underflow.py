"""Gradients that a half-precision format cannot hold on their way across an op.

The gradient that leaves the op is compared with what it would be in float32. Under a larger loss
scale the lost values would be there: this is the test of two scales (theory, fp16), taken op by op
and without a second backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._squares import total

if TYPE_CHECKING:
    from torch import Tensor

_FLOAT32_BYTES = 4
_CASTS = frozenset({"ToCopy"})
# The slot of the op's data input, and the saved matrix that its gradient is multiplied by.
_PRODUCTS = {"Addmm": (1, "mat2"), "Mm": (0, "mat2"), "Bmm": (0, "mat2")}

# Those whose gradient takes more than a product; worked out again for a few examples.
_WORKED_OUT = frozenset(
    {
        "Convolution",
        "ConvolutionOverrideable",
        "ScaledDotProductFlashAttention",
        "ScaledDotProductFlashAttentionForCpu",
        "ScaledDotProductEfficientAttention",
        "ScaledDotProductCudnnAttention",
        "ScaledDotProductFusedAttentionOverrideable",
    }
)


@final
class UnderflowStatistic(AbstractStatistic):
    """Measures what underflow takes from a half-precision gradient, in an op by itself.

    * ``flushed_norm``: norm of the part of the gradient that the format turned into zeros, over
      the norm of the whole in float32; 0 where nothing is lost, 1 where everything is. Exact; of
      a convolution and a fused attention (query, key and value together) over a few examples.
    * ``flushed_share``: the number of those values over the number of values that are not zero.
    """

    code: ClassVar[str] = "underflow"
    nodes: ClassVar[frozenset[str]] = _CASTS | frozenset(_PRODUCTS) | _WORKED_OUT
    of_the_loss: ClassVar[bool] = True

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of a gradient that leaves in half precision, else nothing."""
        name = view.name.partition("Backward")[0]
        slot, saved = _PRODUCTS.get(name, (0, ""))
        if name in _WORKED_OUT:
            return _lost(view.again())
        if slot >= len(view.grad_inputs):
            return {}
        gradient = view.grad_inputs[slot]
        if gradient is None or gradient.element_size() >= _FLOAT32_BYTES:
            return {}
        whole = view.grad_output.float()
        if saved:
            matrix = view.saved(saved)
            if matrix is None:
                return {}
            whole = whole @ matrix.float().mT
        return _lost([(whole, gradient)])


def _lost(pairs: Sequence[tuple[Tensor, Tensor]]) -> Mapping[str, Tensor]:
    """Return what is lost of gradients in float32, each beside the same as it left."""
    if not pairs:
        return {}
    there = [wide != 0 for wide, _ in pairs]
    lost = [known & (left == 0) for known, (_, left) in zip(there, pairs, strict=True)]
    squares = [wide.double().square() for wide, _ in pairs]
    flushed = [(each * gone).sum() for each, gone in zip(squares, lost, strict=True)]
    norm = total([each.sum() for each in squares]).sqrt()
    count = total([known.sum() for known in there])
    return {
        "flushed_norm": total(flushed).sqrt() / norm.clamp_min(1e-300),
        "flushed_share": total([gone.sum() for gone in lost]) / count.clamp_min(1),
    }


STATISTIC = UnderflowStatistic()

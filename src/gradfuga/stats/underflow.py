"""Gradients that a half-precision format cannot hold on their way across an op.

The gradient that leaves the op is compared with what it would be in float32. Under a larger loss
scale the lost values would be there: this is the test of two scales (theory, fp16), taken op by op
and without a second backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView

if TYPE_CHECKING:
    from torch import Tensor

_FLOAT32_BYTES = 4
_CASTS = frozenset({"ToCopy"})
# The slot of the op's data input, and the saved matrix that its gradient is multiplied by.
_PRODUCTS = {"Addmm": (1, "mat2"), "Mm": (0, "mat2"), "Bmm": (0, "mat2")}


@final
class UnderflowStatistic(AbstractStatistic):
    """Measures what underflow takes from a half-precision gradient, in an op by itself.

    * ``flushed_norm``: norm of the part of the gradient that the format turned into zeros, over
      the norm of the whole in float32; 0 where nothing is lost, 1 where everything is. Exact.
    * ``flushed_share``: the number of those values over the number of values that are not zero.
    """

    code: ClassVar[str] = "underflow"
    nodes: ClassVar[frozenset[str]] = _CASTS | frozenset(_PRODUCTS)
    of_the_loss: ClassVar[bool] = True

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of a gradient that leaves in half precision, else nothing."""
        name = view.name.partition("Backward")[0]
        slot, saved = _PRODUCTS.get(name, (0, ""))
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
        there = whole != 0
        lost = there & (gradient == 0)
        norm = whole.double().norm()
        flushed = (whole.double() * lost).norm()
        return {
            "flushed_norm": flushed / norm.clamp_min(1e-300),
            "flushed_share": lost.sum() / there.sum().clamp_min(1),
        }


STATISTIC = UnderflowStatistic()

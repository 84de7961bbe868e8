"""Weight scale: the gain that a linear op would have for a gradient of no particular direction.

For an isotropic gradient d at the output of a linear op with weight W,
``E|W^T d|^2 = scale^2 |d|^2``. What is left of the measured gain, ``gain / scale``, is the
alignment of the gradient with the weight (theory, exact decomposition).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._squares import norm

if TYPE_CHECKING:
    from torch import Tensor


@final
class WeightScaleStatistic(AbstractStatistic):
    """Measures the weight of a linear op or a convolution.

    * ``scale``: ``|W|_F / sqrt(n_out)`` for ``x @ W^T``, with the factor ``alpha`` of addmm.
      A convolution uses every number of its weight once for each output position (a transposed
      one, each input position), so that with C_out output channels it is ``|W|_F / sqrt(C_out)``
      for any stride, dilation and groups, border apart, and for a transposed one
      ``|W|_F / sqrt(C_out P_out / P_in)`` with P positions.

    ``Mm`` and ``Bmm`` take the second factor for the weight, or the first where that alone is a
    parameter. Of ``Bmm``, ``Baddbmm`` only a factor that is a parameter counts, seen through
    views: two activations, as in attention, have no weight. The matrix of ``Mv`` is its weight.
    """

    code: ClassVar[str] = "weight_scale"
    nodes: ClassVar[frozenset[str]] = frozenset(
        {"Addmm", "Mm", "Mv", "Bmm", "Baddbmm", "Convolution", "ConvolutionOverrideable"}
    )

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the scale of the weight behind `view`; empty where the weight is not saved."""
        match view.name.partition("Backward")[0]:
            case "Addmm":
                scale = _of_product(view, view.saved("mat1"), view.saved("mat2"))
            case "Mm" | "Bmm":
                scale = _of_product(view, view.saved("self"), view.saved("mat2"))
            case "Baddbmm":
                scale = _of_product(view, view.saved("batch1"), view.saved("batch2"))
            case "Mv":
                matrix = view.saved("self")
                scale = None if matrix is None else _scale(matrix, matrix.shape[0])
            case _:
                scale = _of_convolution(view)
        return {} if scale is None else {"scale": scale}


def _of_product(view: NodeView, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Return the scale of the factor of ``first @ second`` that is the weight."""
    left = first is not None and _is_parameter(first)
    right = second is not None and _is_parameter(second)
    if view.grad_output.ndim == _BATCHED and not left and not right:
        return None
    if first is not None and left and not right:
        return _scale(first, _batch(first) * first.shape[-2], view.setting("alpha"))
    if second is None:
        return None
    return _scale(second, _batch(second) * second.shape[-1], view.setting("alpha"))


def _batch(matrix: Tensor) -> int:
    return matrix.shape[0] if matrix.ndim == _BATCHED else 1


def _of_convolution(view: NodeView) -> Tensor | None:
    weight, source = view.saved("weight"), view.saved("input")
    leaving = view.grad_inputs[0] if view.grad_inputs else None
    shape = leaving.shape if leaving is not None else None if source is None else source.shape
    if weight is None or shape is None:
        return None
    outputs: float = view.grad_output.shape[1]
    if view.setting("transposed"):
        outputs *= math.prod(view.grad_output.shape[2:]) / max(1, math.prod(shape[2:]))
    return _scale(weight, outputs)


def _scale(weight: Tensor, outputs: float, alpha: float | None = None) -> Tensor | None:
    if outputs == 0 or weight.numel() == 0 or not weight.is_floating_point():
        return None
    factor = abs(1.0 if alpha is None else alpha) / math.sqrt(outputs)
    return norm(weight).mul_(factor)


def _is_parameter(tensor: Tensor) -> bool:
    """Whether `tensor` is a parameter, or a mere view of one."""
    if not tensor.requires_grad:
        return False
    node = tensor.grad_fn
    while node is not None and node.name().partition("Backward")[0] in _VIEWS:
        node = node.next_functions[0][0]
        if node is not None and node.name().endswith("AccumulateGrad"):
            return True
    # A leaf that is not a Parameter is data of which somebody wants the gradient.
    return tensor.is_leaf and type(tensor).__name__ == "Parameter"


_BATCHED = 3  # axes of what Bmm multiplies
_VIEWS = frozenset(
    {"T", "Transpose", "Permute", "View", "UnsafeView", "ReshapeAlias", "Expand", "Unsqueeze"}
    | {"Squeeze", "Alias"}
)

STATISTIC = WeightScaleStatistic()

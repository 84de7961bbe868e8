"""Input of a layer: how large it is, and how much of it differs from example to example.

Where the examples of a batch look alike deep in the network, the forward signal has collapsed:
the best witness beside the gradient (area under the curve 0.96 and more, measured).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractStatistic, NodeView
from ._portions import full_precision, sampled

if TYPE_CHECKING:
    from torch import Tensor

_SAVED = {
    "Addmm": "mat1",
    "Mm": "self",
    "Convolution": "input",
    "ConvolutionOverrideable": "input",
}
_SAMPLE = 8_192  # values looked at; both statistics are means over all of them


@final
class InputSignalStatistic(AbstractStatistic):
    """Measures the input x of a linear op or a convolution, on at most about 8,192 values.

    * ``input_rms``: ``sqrt(mean x^2)``.
    * ``batch_variation``: ``sqrt(mean (x - mean over axis 0)^2) / rms(x)``: 0 where all examples
      are the same, about 1 where they have no common part. Axis 0 holds the examples, and for a
      linear layer on ``[B, T, H]`` the tokens with them. Absent with fewer than two.

    An input is saved only where the weight takes part in training.
    """

    code: ClassVar[str] = "input_signal"
    nodes: ClassVar[frozenset[str]] = frozenset(_SAVED)

    def measure(self, view: NodeView) -> Mapping[str, Tensor]:
        """Return the statistics of the input behind `view`."""
        source = view.saved(_SAVED[view.name.partition("Backward")[0]])
        if source is None or source.numel() == 0 or not source.is_floating_point():
            return {}
        (chosen,) = sampled((source,), _SAMPLE)
        x = full_precision(chosen)
        size = x.square().sum().sqrt_()  # half the time of `Tensor.norm`
        measured = {"input_rms": size.mul(1 / math.sqrt(x.numel()))}
        if x.ndim > 1 and x.shape[0] > 1:
            variation = (x - x.mean(0)).square_().sum().sqrt_().div_(size)
            seen, batch = x.shape[0], source.shape[0]
            if seen < batch:
                # A sample's own mean takes 1/n of the variance; the batch's would take 1/B.
                variation.mul_(math.sqrt(seen / (seen - 1) * (batch - 1) / batch))
            measured["batch_variation"] = variation
        return measured


STATISTIC = InputSignalStatistic()

"""Read a loss on the CPU that is one plain node, in a few microseconds: by its targets alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from torch.autograd.graph import Node

from .loss import LossTerm

if TYPE_CHECKING:
    from ..readings import Floats

_MEAN, _SUM = 1, 2  # torch's codes for the reduction of a loss
_NEGATIVE = 2**63  # from here on an unsigned number stands for a negative one
_MOST_VALUES = 65_536  # beyond that the reading itself is what takes the time

Reader = Callable[[Node, float], LossTerm | None]


def read_plain(node: Node, loss: float) -> LossTerm | None:
    """Return the term that the whole loss is, None where reading it takes more than its targets.

    Args:
        node: what the backward pass starts from.
        loss: its value: of a plain loss nothing else has to be worked out.
    """
    reader = _READERS.get(node.name())
    if reader is None:
        return None
    try:
        return reader(node, loss)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None  # saved tensors that are changed, freed or of a format that NumPy has not


def _weight(node: Node, count: int) -> float | None:
    """Return what one unit of the mean elementwise loss adds to the loss."""
    reduction = node._saved_reduction  # type: ignore[attr-defined]  # noqa: SLF001
    return {_MEAN: 1.0, _SUM: float(count)}.get(reduction)


def _classes(node: Node, loss: float) -> LossTerm | None:
    target: Tensor = node._saved_target  # type: ignore[attr-defined]  # noqa: SLF001
    left_out = node._saved_ignore_index  # type: ignore[attr-defined]  # noqa: SLF001 (-100 is read as 2^64 - 100)
    if node._saved_weight is not None or 0 <= left_out < _NEGATIVE:  # type: ignore[attr-defined]  # noqa: SLF001
        return None
    weight, classes = _weight(node, target.numel()), node._saved_self.shape[1]  # type: ignore[attr-defined]  # noqa: SLF001
    if weight is None:
        return None
    # a target that is left out is negative, which NumPy refuses
    counts = np.bincount(target.numpy().reshape(-1), minlength=classes)
    return LossTerm("classes", loss, weight, counts.astype(np.float64), target.detach())


def _squares(node: Node, loss: float) -> LossTerm | None:
    prediction, target = node._saved_self, node._saved_target  # type: ignore[attr-defined]  # noqa: SLF001
    if prediction.shape != target.shape or not _is_target(node):
        return None
    return _elements("squares", node, target, loss)


def _binary(node: Node, loss: float) -> LossTerm | None:
    weighted = node._saved_weight is not None  # type: ignore[attr-defined]  # noqa: SLF001
    if weighted or getattr(node, "_saved_pos_weight", None) is not None or not _is_target(node):
        return None
    return _elements("binary", node, node._saved_target, loss)  # type: ignore[attr-defined]  # noqa: SLF001


def _is_target(node: Node) -> bool:
    """Whether the second input does not learn."""
    inputs = node.next_functions
    return len(inputs) < 2 or inputs[1][0] is None  # noqa: PLR2004 (prediction, target)


def _elements(family: str, node: Node, target: Tensor, loss: float) -> LossTerm | None:
    weight = _weight(node, target.numel())
    if weight is None or not 0 < target.numel() <= _MOST_VALUES:
        return None
    values = target.detach().numpy().astype(np.float64)
    columns: Floats = values.reshape(len(values) if values.ndim > 1 else values.size, -1)
    moments = np.empty((3, columns.shape[1]))
    moments[0] = len(columns)
    np.add.reduce(columns, axis=0, out=moments[1])
    np.add.reduce(columns * columns, axis=0, out=moments[2])
    return LossTerm(family, loss, weight, moments, target.detach())


_READERS: dict[str, Reader] = {
    "NllLossBackward0": _classes,
    "NllLoss2DBackward0": _classes,
    "MseLossBackward0": _squares,
    "BinaryCrossEntropyBackward0": _binary,
    "BinaryCrossEntropyWithLogitsBackward0": _binary,
}

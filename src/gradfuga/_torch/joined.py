"""See the optimizers that step inside one backward pass as one optimizer."""

from __future__ import annotations

import weakref
from collections import ChainMap
from collections.abc import MutableMapping
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer

from .by_hand import HandOptimizer
from .keras_seam import KerasOptimizer


@final
class Joined:
    """Optimizers of one parameter or a few each, stepped by hooks while the gradient flows.

    Held weakly; the order is that of their first steps.
    """

    def __init__(self) -> None:
        self._members: dict[int, weakref.ref[Optimizer]] = {}

    def add(self, optimizer: Optimizer) -> None:
        """Take one more in; harmless if it is."""
        known = self._members.get(id(optimizer))
        if known is None or known() is not optimizer:
            self._members[id(optimizer)] = weakref.ref(optimizer)

    @property
    def _alive(self) -> list[Optimizer]:
        return [each for reference in self._members.values() if (each := reference()) is not None]

    @property
    def name(self) -> str:
        """Class name of the optimizers."""
        return " + ".join(dict.fromkeys(type(each).__name__ for each in self._alive))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All their parameter groups."""
        return [group for each in self._alive for group in each.param_groups]

    @property
    def state(self) -> MutableMapping[Tensor, Any]:
        """All their states."""
        return ChainMap(*(each.state for each in self._alive))


AnyOptimizer = Optimizer | Joined | KerasOptimizer | HandOptimizer


def name_of(optimizer: AnyOptimizer) -> str:
    """Return the class name of an optimizer, of those that are joined, or "by hand"."""
    return type(optimizer).__name__ if isinstance(optimizer, Optimizer) else optimizer.name


def settings_of(optimizer: AnyOptimizer) -> dict[str, float]:
    """Return the optimizer's numbers: the largest learning rate, the first group's others."""
    out: dict[str, float] = {}
    groups = optimizer.param_groups
    for name, value in groups[0].items():
        if isinstance(value, bool | int | float) or (
            isinstance(value, Tensor) and value.numel() == 1 and value.is_cpu
        ):
            out[name] = float(value)
        elif name == "betas" and isinstance(value, tuple):
            out["beta1"], out["beta2"] = float(value[0]), float(value[1])
    rates = [group["lr"] for group in groups if isinstance(group.get("lr"), int | float)]
    if rates:
        out["lr"] = float(max(rates))
    return out

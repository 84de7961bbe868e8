"""Tell the steps of a script that moves its weights by itself, without an optimizer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import final

import torch
from torch import Tensor
from torch.optim import Optimizer

from .by_hand import HandOptimizer
from .parameters import Before, SeenGradient, before_step
from .tape import TapeRecord

# A script that calls `backward` this often and moves nothing computes gradients for their own
# sake (a saliency map, a test); chosen.
_PATIENCE = 16
# A single tensor that moves is as likely an input (an adversarial example, a picture) as a weight.
_FEWEST = 2


@final
class HandSteps:
    """Watches, from one backward pass to the next, whether the script moves the weights.

    It gives up for good where an optimizer holds one of the weights, or a single tensor moves.

    Args:
        open: whether to watch at all.
    """

    def __init__(self, *, open: bool = True) -> None:
        self.open = open
        self.optimizer: HandOptimizer | None = None
        self._leaves: tuple[weakref.ref[Tensor], ...] = ()
        self._versions: tuple[int, ...] = ()
        self._before: Before | None = None
        self._unseen = False  # whether the moves leave no trace in the versions (`p.data -= ...`)
        self._idle = 0

    def close(self) -> None:
        """There is an optimizer: what moves the weights is seen there."""
        self.open = False
        self.optimizer = self._before = None
        self._leaves = ()

    def look(
        self,
        records: Sequence[TapeRecord],
        given: Mapping[int, SeenGradient] = MappingProxyType({}),
        *,
        due: bool,
    ) -> None:
        """A backward pass has ended.

        Args:
            records: what the passes since the last step reached and left; none where this one
                was not read: the weights are those of before.
            given: gradients that the script was handed instead of finding them in its weights.
            due: whether the step that follows is sampled: then the weights are copied.
        """
        seen = {key: value for each in records for key, value in each.weight_gradient.items()}
        if records:
            leaves = {id(leaf): leaf for each in records for leaf in each.parameters}
            self._leaves = tuple(weakref.ref(leaf) for leaf in leaves.values())
        alive = self._alive()
        self._versions = tuple(leaf._version for leaf in alive)  # noqa: SLF001
        self._before = None
        if due:
            before = before_step(alive, seen)
            pairs = zip(alive, before.gradient, strict=True)
            held = tuple([given[id(p)].norm if id(p) in given else norm for p, norm in pairs])
            self._before = replace(before, gradient=held)

    def take(self) -> tuple[HandOptimizer, Before | None] | None:
        """Return the step that was made since the last `look`; None where none was."""
        alive = self._alive()
        if len(alive) != len(self._versions) or not alive:
            return None
        moved = self._moved(alive)
        if not moved:
            self._idle += self.optimizer is None
            if self._idle >= _PATIENCE:
                self.close()
            return None
        if self.optimizer is None:
            if len(moved) < _FEWEST or _held_by_an_optimizer(alive):
                self.close()
                return None
            self.optimizer = HandOptimizer(moved)
        before, self._before = self._before, None
        return self.optimizer, before if before is None else _those(before, moved)

    def _alive(self) -> tuple[Tensor, ...]:
        found = (reference() for reference in self._leaves)
        return tuple(leaf for leaf in found if leaf is not None)

    def _moved(self, alive: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the weights that are no longer what they were; all that ever moved, once known."""
        known = {id(p) for p in self.optimizer.param_groups[0]["params"]} if self.optimizer else {}
        ours = tuple(leaf for leaf in alive if id(leaf) in known)
        changed = tuple(
            leaf
            for leaf, version in zip(alive, self._versions, strict=True)
            if leaf._version != version  # noqa: SLF001
        )
        if changed:
            return ours or changed
        if self._before is None:
            return ours if self._unseen else ()
        different = tuple(
            leaf
            for leaf, copy in zip(alive, self._before.weights, strict=True)
            if not torch.equal(leaf.detach(), copy)
        )
        self._unseen = bool(different)
        return (ours or different) if different else ()


def _those(before: Before, wanted: Sequence[Tensor]) -> Before:
    """Return what is known of the `wanted` parameters only."""
    keys = {id(p) for p in wanted}
    places = [place for place, p in enumerate(before.parameters) if id(p) in keys]
    return Before(
        parameters=tuple(before.parameters[place] for place in places),
        weights=tuple(before.weights[place] for place in places),
        gradient=tuple(before.gradient[place] for place in places),
    )


def _held_by_an_optimizer(leaves: Sequence[Tensor]) -> bool:
    """Whether an optimizer of the process holds one of them: its step is still to come."""
    wanted = {id(leaf) for leaf in leaves}
    return any(
        id(p) in wanted
        for each in gc.get_objects()
        if issubclass(type(each), Optimizer)
        for group in each.param_groups
        for p in group["params"]
    )

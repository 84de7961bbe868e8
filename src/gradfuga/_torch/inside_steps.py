"""Tell the step of optimizers that step inside a backward pass, one parameter after the other."""

from __future__ import annotations

from typing import final

from torch.optim import Optimizer

from .joined import Joined
from .parameters import Before, before_step, merged, trainable


@final
class InsideSteps:
    """Gathers what steps while one backward pass runs: together it is one step of them all."""

    def __init__(self) -> None:
        self.optimizer = Joined()
        self.any = False  # whether one has stepped in the pass that runs
        self._pieces: list[Before] = []

    def take(self, optimizer: Optimizer, *, due: bool) -> None:
        """An optimizer is about to step; of a sampled step its weights are copied."""
        self.any = True
        self.optimizer.add(optimizer)
        if due:
            self._pieces.append(before_step(trainable(optimizer), {}))

    def end(self) -> Before | None:
        """The pass has ended: return the weights before it, None where they were not copied."""
        pieces, self._pieces, self.any = self._pieces, [], False
        return merged(pieces) if pieces else None

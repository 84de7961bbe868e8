"""Take the short way through most steps: one training, one backward pass from one loss.

At a step that is not sampled little has to be known, and the code that tells several optimizers,
passes and processes apart costs more by being fetched than by being run: between the kernels of a
small network it is cold. Whatever is not plain goes the long way.
"""

from __future__ import annotations

import time
from typing import final

from torch import Tensor

from .passes import Entry
from .training import Training


@final
class PlainStep:
    """The backward pass of a plain step, from its beginning to the optimizer's step.

    Attributes:
        training: whose step it would be, None where the coming step goes the long way.
        loss: that a pass has started from, None where none waits for its step.
    """

    __slots__ = ("_ours", "loss", "training")

    def __init__(self) -> None:
        self.training: Training | None = None
        self.loss: float | None = None
        self._ours = 0.0

    def takes(self, args: tuple[object, ...]) -> bool:
        """Take a pass that is about to run, if it is a plain one.

        Args:
            args: of `torch.autograd.backward`.
        """
        training, root = self.training, args[0] if args else None
        if training is None or self.loss is not None or type(root) is not Tensor:
            return False
        if not root.is_cpu or root.numel() != 1 or root.grad_fn is None or root.is_complex():
            return False
        started = time.perf_counter()
        if training.wants_glimpse:
            return False
        loss = float(root.item())
        if loss - loss != 0.0:  # NaN or infinite: its origin is looked for
            return False
        self.loss, self._ours = loss, time.perf_counter() - started
        return True

    def end(self) -> Training:
        """The optimizer has stepped; return its training."""
        training, loss = self.training, self.loss
        assert training is not None
        assert loss is not None
        self.loss = None
        training.after_plain_step(loss, self._ours)
        return training

    def given_up(self) -> Entry | None:
        """Go the long way up to the next step; return the pass that waits for its step, if any."""
        loss, self.loss, self.training = self.loss, None, None
        return None if loss is None else Entry(loss, ours=self._ours)

"""End a program after so many optimizer steps or seconds, and time its steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from .scaling import ScalerSeam

_TIMED = 4096  # chosen: step times kept, the first ones; a median needs no more


@final
class Slice:
    """Counts the steps of the busiest optimizer and calls `over` when the slice is used up.

    A step that a gradient scaler skips is one too: of a script that only skips there are no others.

    Args:
        steps: at most so many optimizer steps, None for no limit.
        seconds: at most so many seconds since the process began, and at least one step.
        started: when the process began, by `time.monotonic`.
        over: called inside the last step; does not return.
        stepped: called after every step.
    """

    def __init__(
        self,
        *,
        steps: int | None,
        seconds: float | None,
        started: float,
        over: Callable[[], None],
        stepped: Callable[[], None],
    ) -> None:
        self._steps, self._seconds, self._started = steps, seconds, started
        self._over, self._stepped = over, stepped
        self._counts: dict[int, int] = {}
        self._times: list[float] = []
        self._last: float | None = None
        self._parameters: dict[int, int] = {}
        self._scaler = ScalerSeam(
            skipped=lambda optimizer, _scaled: self._count(optimizer),
            failed=lambda _part, _error: None,
        )
        self.startup_seconds = 0.0

    def attach(self) -> None:
        """Count from now on; what hooked the steps before sees the last one first."""
        self._scaler.attach()
        register_optimizer_step_post_hook(self._after)

    @property
    def steps(self) -> int:
        """Steps of the busiest optimizer."""
        return max(self._counts.values(), default=0)

    @property
    def step_seconds(self) -> float:
        """Median time from one step to the next, 0 where there was only one."""
        return statistics.median(self._times) if self._times else 0.0

    @property
    def parameters(self) -> int:
        """Numbers that the optimizers move."""
        return sum(self._parameters.values())

    def _after(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._scaler.of(optimizer)  # it was not skipped
        self._count(optimizer)

    def _count(self, optimizer: Optimizer) -> None:
        now = time.monotonic()
        if self._last is None:
            self.startup_seconds = now - self._started
        elif len(self._times) < _TIMED:
            self._times.append(now - self._last)
        key = id(optimizer)
        if key not in self._counts:
            held = (p for group in optimizer.param_groups for p in group["params"])
            self._parameters.update(
                (id(p), p.numel()) for p in held if isinstance(p, Tensor) and p.requires_grad
            )
        self._counts[key] = self._counts.get(key, 0) + 1
        self._stepped()
        late = self._seconds is not None and now - self._started >= self._seconds
        if late or (self._steps is not None and self.steps >= self._steps):
            self._over()
        self._last = time.monotonic()

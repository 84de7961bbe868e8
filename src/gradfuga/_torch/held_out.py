"""See the losses that a program computes in its own evaluation, without gradients."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

_LOSSES = (
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss",
)  # fmt: skip


@final
class HeldOut:
    """Losses of the functions that also train, where they are computed without gradients.

    Evaluations between two optimizer steps are one pass; its loss is their mean by number of
    targets. The functions stay replaced: the process is the trial's own.
    """

    def __init__(self) -> None:
        self._training: set[str] = set()
        self._passes: dict[int, dict[str, list[float]]] = {}
        self._step = 0
        self._depth = threading.local()

    def attach(self) -> None:
        """Look on at the loss functions of `torch.nn.functional`."""
        for name in _LOSSES:
            setattr(F, name, self._seeing(name, getattr(F, name)))

    def stepped(self) -> None:
        """The optimizer has taken a step."""
        self._step += 1

    @property
    def last(self) -> float | None:
        """Mean loss of the last pass, None where there was none after the first step."""
        for step in sorted(self._passes, reverse=True):
            if step == 0:
                break
            for name, (total, count) in self._passes[step].items():
                if name in self._training and count:
                    return total / count
        return None

    def _seeing(self, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def seen(*args: object, **kwargs: object) -> Tensor:
            if getattr(self._depth, "inside", False):
                return function(*args, **kwargs)
            self._depth.inside = True
            try:
                loss = function(*args, **kwargs)
            finally:
                self._depth.inside = False
            if loss.grad_fn is not None:
                self._training.add(name)
            elif not torch.is_grad_enabled():
                target = args[1] if len(args) > 1 else kwargs.get("target")
                count = target.numel() if isinstance(target, Tensor) else 1
                whole = float(loss.sum())
                summed = loss.dim() > 0 or kwargs.get("reduction") == "sum"
                seen_here = self._passes.setdefault(self._step, {}).setdefault(name, [0.0, 0.0])
                seen_here[0] += whole if summed else whole * count
                seen_here[1] += count
            return loss

        return seen

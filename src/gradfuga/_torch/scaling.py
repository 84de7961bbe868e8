"""See what a gradient scaler does to a step: the scale of its loss, and whether it is skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from .norms import Measured


@dataclass(frozen=True, slots=True)
class Scaled:
    """One optimizer step under a gradient scaler.

    Attributes:
        scale: what the loss was multiplied by, on its device where that is no CPU.
        given: what the optimizer's gradients are still multiplied by when it steps: a fused
            optimizer divides by it itself.
        skipped: 1 where a gradient was not finite, so that the weights stay as they are.
    """

    scale: Measured
    given: Measured = 1.0
    skipped: Measured = 0.0


@final
class ScalerSeam:
    """Replaces `torch.amp.GradScaler.step` for the time of an observation.

    A step that the scaler skips never reaches the optimizer, and the hooks of one that does not
    tell the scale.

    Args:
        skipped: told of a step that the scaler kept from its optimizer.
        failed: told of an exception in our own code.
    """

    def __init__(
        self,
        skipped: Callable[[Optimizer, Scaled], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._skipped, self._failed = skipped, failed
        self._scales: dict[int, Measured] = {}  # of the steps that run now, by their optimizer
        self._original: Callable[..., float | None] | None = None
        self._wrapper: Callable[..., float | None] | None = None

    def attach(self) -> None:
        """Put the seam in place."""
        original = GradScaler.step
        self._original = original

        def step(
            scaler: GradScaler, optimizer: Optimizer, *args: object, **kwargs: object
        ) -> float | None:
            scale = self._open(scaler, optimizer)
            try:
                result = original(scaler, optimizer, *args, **kwargs)
                if scale is not None and self._scales.get(id(optimizer)) is scale:
                    self._skipped(optimizer, Scaled(scale, skipped=1.0))
                return result
            finally:
                self._scales.pop(id(optimizer), None)

        step.__wrapped__ = original  # type: ignore[attr-defined]  # as functools.wraps does
        step.__doc__ = original.__doc__
        self._wrapper = step
        GradScaler.step = step  # type: ignore[assignment, method-assign]

    def detach(self) -> None:
        """Put the original back, if ours is still the one in place."""
        if self._original is not None and GradScaler.step is self._wrapper:
            GradScaler.step = self._original  # type: ignore[method-assign]
        self._original = None

    def _open(self, scaler: GradScaler, optimizer: Optimizer) -> Measured | None:
        try:
            if not scaler.is_enabled():
                return None
            scale = scaler._scale  # noqa: SLF001 (get_scale would wait for the device)
            if scale is None:
                return None
            measured: Measured = float(scale.item()) if scale.is_cpu else scale.clone()
            self._scales[id(optimizer)] = measured
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._failed("reading the gradient scaler", error)
            return None
        return measured

    def of(self, optimizer: Optimizer) -> Scaled | None:
        """Return what the scaler does to the step that `optimizer` begins, None without one."""
        scale = self._scales.pop(id(optimizer), None) if self._scales else None
        if scale is None:
            return None
        # a fused optimizer is handed both as attributes for the time of its step
        settings = vars(optimizer)
        given, found = settings.get("grad_scale"), settings.get("found_inf")
        return Scaled(scale, _measured(given, 1.0), _measured(found, 0.0))


def _measured(value: object, otherwise: float) -> Measured:
    if not isinstance(value, Tensor):
        return otherwise
    return float(value.item()) if value.is_cpu else value.clone()


def unscaled(value: Measured, scaled: Scaled | None) -> Measured:
    """Return `value`, of a gradient or a loss, without what the scaler put on it."""
    return value if scaled is None else value / scaled.scale

"""Loosen the clipping that a script does by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Self, final

from torch import nn
from torch.nn.utils import clip_grad

# The bound is the second argument of each. `clip_grad_norm_` calls the first by its private name,
# so that it is reached however the script has imported it.
_BOUNDS = {
    "_clip_grads_with_norm_": "max_norm",
    "clip_grads_with_norm_": "max_norm",
    "clip_grad_value_": "clip_value",
}


@final
class Clippings:
    """While open, torch's functions that clip gradients get `factor` times their bound.

    Attributes:
        loosened: how many calls got another bound.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.loosened = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Wrap the functions."""
        for module in (clip_grad, nn.utils):
            for name, bound in _BOUNDS.items():
                original = vars(module).get(name)
                if original is not None:
                    setattr(module, name, self._loosened(original, bound))
                    self._stack.callback(setattr, module, name, original)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the functions back."""
        self._stack.close()

    def _loosened(self, original: Callable[..., object], bound: str) -> Callable[..., object]:
        @wraps(original)
        def clip(parameters: object, *args: object, **kwargs: object) -> object:
            self.loosened += 1
            if args:
                args = (self._larger(args[0]), *args[1:])
            elif bound in kwargs:
                kwargs[bound] = self._larger(kwargs[bound])
            return original(parameters, *args, **kwargs)

        return clip

    def _larger(self, bound: object) -> float:
        return self.factor * float(bound)  # type: ignore[arg-type]  # torch converts it just so

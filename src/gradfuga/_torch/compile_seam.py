"""Notice that a program compiles: global module hooks would make it warn and recompile."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from typing import Any, cast, final

import torch


@final
class CompileSeam:
    """Replaces `torch.compile` while attached by a function that also tells us.

    Args:
        used: told before the program compiles for the first time, or at once where it has.
    """

    def __init__(self, used: Callable[[], None]) -> None:
        self._used = used
        self._original: Callable[..., Any] | None = None
        self._wrapper: Callable[..., Any] | None = None

    def attach(self) -> None:
        """Put the seam in place."""
        if _has_compiled():
            self._used()
            return
        original: Callable[..., Any] = torch.compile

        @functools.wraps(original)
        def compile(*args: object, **kwargs: object) -> object:
            self._used()
            return original(*args, **kwargs)

        self._original, self._wrapper = original, compile
        torch.compile = cast("Any", compile)

    def detach(self) -> None:
        """Put the original back, if ours is still the one in place."""
        if self._original is not None and torch.compile is self._wrapper:
            torch.compile = self._original
        self._original = None


def _has_compiled() -> bool:
    """Whether there is a compiled module already."""
    loaded = sys.modules.get("torch._dynamo.eval_frame")
    kind = vars(loaded).get("OptimizedModule") if loaded is not None else None
    return kind is not None and any(issubclass(type(each), kind) for each in gc.get_objects())

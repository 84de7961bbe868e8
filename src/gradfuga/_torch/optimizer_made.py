"""Tell when a program makes its first optimizer."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch.optim import Optimizer


def tell_first_optimizer(tell: Callable[[Optimizer], None]) -> None:
    """Call `tell` with the first optimizer as soon as it has its parameters.

    The constructor stays wrapped until then: for a process of our own, such as a trial's.
    """
    original = Optimizer.__init__

    @functools.wraps(original)
    def made(self: Optimizer, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs)  # type: ignore[arg-type]  # handed on as they came
        if Optimizer.__init__ is made:
            Optimizer.__init__ = original  # type: ignore[method-assign]
            tell(self)

    Optimizer.__init__ = made  # type: ignore[method-assign]

"""Stand for an optimizer where a script moves its weights by itself."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, final

from torch import Tensor


@final
class HandOptimizer:
    """Stands where an optimizer would: the weights that the script itself has moved.

    Held weakly, as an optimizer's are.
    """

    name = "by hand"

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._held = tuple(weakref.ref(p) for p in parameters)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """One group, without settings: nobody has told them."""
        alive = [p for reference in self._held if (p := reference()) is not None]
        return [{"params": alive}]

    @property
    def state(self) -> dict[Tensor, Any]:
        """None is kept."""
        return {}

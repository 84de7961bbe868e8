"""Clear the gradients before each backward pass.

What it changes
    ``optimizer.zero_grad()`` at the beginning of every step; with accumulation, once per
    optimizer step.

Why it helps
    PyTorch adds to ``.grad``. Cleared, a step follows the gradient of its own batch and not the
    sum of all batches so far. Cleared after the backward pass instead, it follows nothing.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``gradients_not_zeroed`` and ``gradients_wiped``. It does not treat a gradient that
    vanishes before it is cleared. The learning rate may have been tuned to the missing line; expect
    to raise it afterwards.

References
    PyTorch documentation of ``torch.optim.Optimizer.zero_grad``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import ClearGradients, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named


@final
class ZeroGradients(AbstractRemedy):
    """Clears the gradients."""

    code: ClassVar[str] = "RX014"
    name: ClassVar[str] = "zero-gradients"
    treats: ClassVar[frozenset[str]] = frozenset({"gradients_not_zeroed", "gradients_wiped"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Zero the gradients in every step")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        if named(diagnosis, ("gradients_wiped",)):  # it is where they are cleared that is wrong
            return (ClearGradients(moved=True),)
        return (ClearGradients(),)


REMEDY = ZeroGradients()

"""Gradients that are cleared between the backward pass and the step.

What it finds
    Steps on which the backward pass gives the weights a gradient, and the optimizer is handed
    exactly none: all of them zero, or ``None``. At least three sampled steps must show it, and
    at least nine in ten.

Why it matters
    ``optimizer.zero_grad()`` after ``loss.backward()`` clears what has just been worked out. The
    loss is computed, nothing fails, and no weight ever moves, as with a learning rate of zero.

Evidence
    ``clip_coefficient``: the gradient that the step is given over the one that the backward pass
    left, as the median of the samples: exactly 0.

Known limits
    Other code that sets the gradients to zero, such as a hook, looks the same.

References
    PyTorch documentation of ``torch.optim.Optimizer.zero_grad``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._short_steps import wiped_steps

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class GradientWiped(AbstractRule):
    """Blames gradients that never arrive at the step."""

    code: ClassVar[str] = "FLW005"
    name: ClassVar[str] = "gradient-wiped"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"clip_coefficient"})
    cause: ClassVar[str] = "gradients_wiped"

    fewest: int = 3  # samples: a training that skips a step now and then is none (chosen)
    share: float = 0.9  # of the samples (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the order of the calls."""
        wiped = wiped_steps(case, share=self.share, fewest=self.fewest)
        if not wiped:
            return ()
        message = _(
            "The backward pass leaves a gradient, and the optimizer gets none of it: something "
            "clears it before the step. Call zero_grad() before loss.backward(), not after it."
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                evidence=(
                    Evidence(
                        "optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", wiped[-1], 0.0, 1.0
                    ),
                ),
            ),
        )


RULE = GradientWiped()

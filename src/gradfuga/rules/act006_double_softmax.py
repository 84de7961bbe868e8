"""A softmax in the model under a loss that takes the softmax itself.

What it finds
    Probabilities handed to a cross entropy that expects logits: the loss's log-softmax runs on
    the model's softmax, in a network that learns nothing.

Why it matters
    Numbers between 0 and 1 are nearly equal logits. The loss can hardly leave chance, its best
    value is far from zero, and the gradient crosses the softmax's Jacobian on its way down. It is
    among the most frequent mistakes in classification scripts, and nothing warns of it.

Evidence
    The backward graph itself: a log-softmax whose only input is a softmax; and the Frobenius
    norm of the softmax's Jacobian where it was recorded.

Known limits
    A softmax that is meant, as in distillation on purpose, looks the same; the finding needs a
    network that learns nothing.

References
    PyTorch documentation of ``torch.nn.CrossEntropyLoss`` (the input is expected to contain the
    unnormalized logits).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._progress import learns_nothing
from ._samples import value_at

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class DoubleSoftmax(AbstractRule):
    """Blames probabilities given to a loss that expects logits."""

    code: ClassVar[str] = "ACT006"
    name: ClassVar[str] = "double-softmax"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "saturated_output"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the softmax that is too much."""
        twice = case.graph.double_softmax
        if twice is None or not learns_nothing(case):
            return ()
        message = _(
            "The loss takes the softmax of '{layer}', which is a softmax already: it expects "
            "logits. Leave the softmax out of the model."
        ).format(layer=twice.path)
        return (
            self.finding(
                severity=Severity.FATAL,
                message=message,
                paths=(twice.path,),
                source=case.source_of((twice.path,)),
                evidence=(
                    Evidence(
                        twice.path,
                        Kind.ACTIVATION_GRAD,
                        "norm",
                        case.steps[0],
                        value_at(case, twice.path, Kind.ACTIVATION_GRAD, "norm", case.steps[0]),
                        math.nan,
                    ),
                ),
            ),
        )


RULE = DoubleSoftmax()

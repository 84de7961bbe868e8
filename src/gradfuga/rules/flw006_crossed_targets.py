"""A loss that holds every prediction against every target.

What it finds
    Predictions and targets of shapes such as (64, 1) and (64,): broadcasting makes 64 x 64 pairs
    of them, each prediction beside the targets of all examples, not beside its own.

Why it matters
    Of all numbers, the one with the least mean squared distance from all targets is their mean.
    The network is trained to predict it for every example, and does: the loss falls to the
    variance of the targets and stays there. PyTorch warns of it in its own losses, on a line
    that is easily lost among others, and says nothing where the script subtracts by itself.

Evidence
    ``pairs``, of prediction and target, against as many as there are predictions. From
    ``prediction_size`` and ``target_size`` of the loss, along every axis of the pairs.

Known limits
    Two tensors of the same lengths whose first axes run along different axes of the pairs are
    taken for one mistake: where all pairs are meant, a network that learns gets a note. Targets
    that a script subtracts are worked out from the difference and the prediction; where the tape
    does not keep those, nothing is said.

References
    PyTorch documentation of ``torch.nn.functional.mse_loss`` and of its broadcasting semantics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class CrossedTargets(AbstractRule):
    """Blames shapes that broadcasting has crossed."""

    code: ClassVar[str] = "FLW006"
    name: ClassVar[str] = "crossed-targets"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "data_or_labels"

    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the loss, a note where the network learns all the same."""
        from ..analysis.crossed import crossed_targets  # noqa: PLC0415 (numpy)

        found = crossed_targets(case)
        if found is None:
            return ()
        seen_enough = case.total_steps >= self.fewest_steps
        accuses = seen_enough and case.progress.known and not case.progress.informed
        message = _(
            "The loss at '{loss}' subtracts targets of shape {target} from predictions of shape "
            "{prediction}: broadcasting holds each prediction against the targets of all {count} "
            "examples, and the best answer is their mean. Give both the same shape, for instance "
            "with .view_as() or .squeeze(-1)."
        ).format(
            loss=found.path,
            target=found.target,
            prediction=found.prediction,
            count=max(found.prediction),
        )
        own = math.prod(found.prediction)
        return (
            self.finding(
                severity=Severity.FATAL,
                message=message,
                paths=(found.path,),
                source=case.source_of((found.path,)),
                evidence=(Evidence(found.path, Kind.LOSS, "pairs", found.step, own * own, own),),
                accuses=accuses,
            ),
        )


RULE = CrossedTargets()

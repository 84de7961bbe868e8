"""Examples whose gradients cancel in the last layer while the loss stands on a plateau.

What it finds
    In a network that learns nothing: a gradient of the last layer's weight that is far smaller
    than the gradients of the single examples would leave if they were independent of each other.

Why it matters
    On a plateau the network has learned the average answer, and every example pulls the head
    its own way. The pulls cancel, so even the layer next to the loss looks starved, and the
    ratio between first and last layer, which many tools watch, looks healthy. A larger
    learning rate does nothing here: what has to be repaired lies below the head.

Evidence
    ``coherence`` of the last layer: its weight gradient over the sum of its examples' gradients,
    against the ``1/sqrt(B)`` that B independent examples would leave. Median of the last samples.

Known limits
    Needs a linear last layer that sees one row per example. The examples' own norms are taken
    to be alike, which holds on a plateau. In batches drawn at random the labels' noise keeps
    the coherence near 1/sqrt(B): full-batch training shows this symptom, small batches rarely.
    It is evidence for the reader and decides no verdict.

References
    McCandlish et al. 2018, https://arxiv.org/abs/1812.06162 (gradient noise scale).
    Measured by this project: a coherence of 1.4e-10 on the plateau of a deep sigmoid network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..flow import OpRole
from ._progress import learns_nothing
from ._samples import late_steps, median, value_at
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case

_ROWS_AND_COLUMNS = 2


@final
@dataclass(frozen=True, slots=True)
class BatchCancellation(AbstractRule):
    """Finds a head whose examples cancel each other."""

    code: ClassVar[str] = "GRD006"
    name: ClassVar[str] = "batch-cancellation"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"norm", "input_rms"})

    below_chance: float = 0.1  # of 1/sqrt(B): ten times less than chance leaves (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the head."""
        if not case.layers or not learns_nothing(case):
            return ()
        head = case.layers[0]
        op = case.op_of(head)
        shape = next((p.shape for p in case.record.parameters if p.path == head.weight), ())
        if op.role is not OpRole.LINEAR or len(op.shape) != _ROWS_AND_COLUMNS:
            return ()
        if len(shape) != _ROWS_AND_COLUMNS or op.shape[0] < _ROWS_AND_COLUMNS:
            return ()
        batch, inputs = op.shape[0], math.prod(shape) // op.shape[1]
        coherence = median(self._coherence(case, step, batch, inputs) for step in late_steps(case))
        chance = 1.0 / math.sqrt(batch)
        if not coherence < self.below_chance * chance:
            return ()
        message = _(
            "The examples of a batch cancel each other at '{head}': together they leave {observed} "
            "of what they pull one by one; {batch} examples without anything in common would "
            "leave {chance}."
        ).format(head=head.path, observed=plain(coherence), batch=batch, chance=plain(chance))
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=(head.path,),
                source=case.source_of((head.path,)),
                evidence=(
                    Evidence(
                        head.path,
                        Kind.WEIGHT_GRAD,
                        "coherence",
                        late_steps(case)[-1],
                        coherence,
                        chance,
                    ),
                ),
            ),
        )

    def _coherence(self, case: Case, step: int, batch: int, inputs: int) -> float:
        """Return ``|g_W| / sum_b |delta_b| |h_b|``, the examples' norms taken to be alike."""
        head = case.layers[0]
        gradient = value_at(case, head.weight, Kind.WEIGHT_GRAD, "norm", step)
        delta = value_at(case, head.path, Kind.ACTIVATION_GRAD, "norm", step)
        rms = value_at(case, head.path, Kind.ACTIVATION, "input_rms", step)
        apart = math.sqrt(batch) * delta * rms * math.sqrt(inputs)
        return gradient / apart if apart > 0.0 else math.nan


RULE = BatchCancellation()

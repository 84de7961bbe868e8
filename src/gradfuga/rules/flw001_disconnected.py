"""Weights that the optimizer holds and that the loss never reaches.

What it finds
    At least a quarter of the optimizer's weight matrices that no sampled backward pass reached,
    in a run with three samples or more. And an op that gets a gradient and gives exactly zero, or
    nothing, on at every sample, so that weights below it get nothing: a rounding, a function of
    your own whose backward returns zeros, a mask that hides everything.

Why it matters
    A forgotten ``detach()``, a ``no_grad`` block, an output that the loss does not use, or an
    optimizer that was built for another copy of the model: the gradient never arrives, and no
    initialisation can help.

Evidence
    The share of the optimizer's weights without a gradient, against a quarter; for an op the norm
    of what it gives on, against any number above zero.

Known limits
    A part that is used on rare batches only may be missed by the samples. In a network that
    learns what it can, unreached weights are a note: a pooler or a head that is not in use is no
    illness. Activations, layers and softmaxes that let nothing through have rules of their own.

References
    PyTorch documentation, Autograd mechanics (locally disabling gradient computation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..analysis.passage import blocks
from ._held import UNREACHED_SHARE, unreached
from ._progress import learns_nothing
from ._words import quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class Disconnected(AbstractRule):
    """Blames weights that the loss does not reach."""

    code: ClassVar[str] = "FLW001"
    name: ClassVar[str] = "disconnected"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "disconnected"

    share: float = UNREACHED_SHARE  # of the weights; one idle pooler is no reason (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return what is cut off: a cause where nothing is learned, else a note."""
        yield from self._blocked(case)
        part = unreached(case)
        if part.share < self.share or not part.paths:
            return
        sick = _fails(case)
        text = (
            _("The loss reaches none of the {of} weights that the optimizer holds.")
            if len(part.paths) == part.of
            else _(
                "The loss never reaches {count} of the {of} weights that the optimizer holds: "
                "{paths}."
            )
        )
        message = text.format(count=len(part.paths), of=part.of, paths=quoted(part.paths))
        if sick:
            message += " " + _(
                "Look for detach(), no_grad, an unused output, or an optimizer that was built "
                "for another model."
            )
        share = Evidence(
            "optimizer",
            Kind.WEIGHT_GRAD,
            "unreached_share",
            case.steps[-1],
            part.share,
            self.share,
        )
        yield self._finding(case, message, part.paths[:8], share)

    def _blocked(self, case: Case) -> Iterable[Finding]:
        for block in blocks(case):
            message = _(
                "'{op}' gets a gradient and gives exactly nothing on: {count} weights below it get "
                "none ({paths})."
            ).format(op=block.op.path, count=len(block.weights), paths=quoted(block.weights))
            nothing = Evidence(
                block.op.path, Kind.ACTIVATION_GRAD, "given_on", case.steps[-1], 0.0, math.nan
            )
            paths = (block.op.path, *block.weights[:7])
            yield self._finding(case, message, paths, nothing)

    def _finding(
        self, case: Case, message: str, paths: tuple[str, ...], evidence: Evidence
    ) -> Finding:
        return self.finding(
            severity=Severity.SERIOUS,
            message=message,
            paths=paths,
            source=case.source_of(paths),
            evidence=(evidence,),
            accuses=_fails(case),
        )


def _fails(case: Case) -> bool:
    progress = case.progress
    return learns_nothing(case) or progress.poor or not progress.known


RULE = Disconnected()

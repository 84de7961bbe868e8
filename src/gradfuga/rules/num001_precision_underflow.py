"""Gradients too small for their format, which turns them into zeros.

What it finds
    In a network that learns nothing, or far too little: an op from which more than half of the
    norm of a half-precision gradient never leaves, because the values are below the smallest
    that the format knows.

Why it matters
    float16 ends at 6e-8, and what is smaller than half of that is zero. A mean over many pixels or
    a small weight on the loss is enough. The gradient does not vanish by the network's own doing,
    and the same network in another format, or with its loss scaled up, learns.

Evidence
    ``flushed_norm``, the norm of what was lost over the norm of what should have left the op, in
    float32: the exact test with two loss scales, op by op.

Known limits
    Read where a gradient is cast or multiplied by a matrix, in a convolution, and in a fused
    attention without dropout that has as many heads of keys as of queries. Of the gradients that
    go on to other layers, not of those that end in a weight. bfloat16 has the range of float32 and
    does not underflow.

References
    Micikevicius et al. 2018, Mixed Precision Training, https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ._toll import find_toll, toll_finding
from ._words import plain, quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class PrecisionUnderflow(AbstractRule):
    """Blames a format that turns the gradient into zeros."""

    code: ClassVar[str] = "NUM001"
    name: ClassVar[str] = "precision-underflow"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"flushed_norm"})
    cause: ClassVar[str] = "precision_underflow"

    half: float = 0.5  # of a step, below which it is another step (chosen)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the ops, the worst first."""
        toll = find_toll(case, "underflow", half=self.half, fewest_steps=self.fewest_steps)
        if toll is None:
            return ()
        message = _(
            "At {layers} half precision turns {share} of the gradient's norm into zeros: its "
            "values are below the smallest that the format holds."
        ).format(layers=quoted(toll.paths), share=plain(1.0 - toll.kept))
        evidence = Evidence(
            toll.paths[0],
            Kind.ACTIVATION,
            "flushed_norm",
            case.steps[-1],
            1.0 - toll.kept,
            self.half,
        )
        return (toll_finding(self, case, toll, message=message, evidence=evidence),)


RULE = PrecisionUnderflow()

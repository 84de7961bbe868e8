"""A recurrence without gates that shrinks the gradient at every step.

What it finds
    A plain recurrence, tanh or ReLU, whose matrix times the slope of its activation is below one,
    in a network whose memory is too short.

Why it matters
    The gradient at lag k is a product of k such steps: at 0.58 a step, torch's default, three
    decades are gone in 13 steps.

Evidence
    ``recurrent_scale``, the matrix's Frobenius norm over sqrt(H), against 1; the rms slope of the
    activation; the spectral radius.

Known limits
    In hand-written recurrences the slope is not read, and the step's whole loss is booked here.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063. Le, Jaitly and Hinton 2015,
    https://arxiv.org/abs/1504.00941.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ..analysis.remembering import memory_of
from ..analysis.time_causes import blamed_step, forgetting_shares
from ._time import statistic_evidence, steps_text, time_finding
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class RecurrentContraction(AbstractRule):
    """Blames a recurrence that contracts."""

    code: ClassVar[str] = "REC003"
    name: ClassVar[str] = "recurrent-contraction"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})
    cause: ClassVar[str] = "recurrent_contraction"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that reaches farthest back."""
        blamed = blamed_step(case)
        if blamed is None or not memory_of(case).too_short:
            return ()
        if self.cause not in forgetting_shares(case):
            return ()
        found = blamed.profile
        message = _(
            "Each step through '{path}' leaves {rate} of the gradient, so that a thousandth is "
            "left after {horizon} steps."
        ).format(path=found.path, rate=plain(found.rate), horizon=steps_text(found.horizon))
        evidence: tuple[Evidence, ...] = (
            *statistic_evidence(case, found, "recurrent_scale", Kind.WEIGHT, 1.0),
            *statistic_evidence(case, found, "slope_rms", Kind.ACTIVATION, 1.0),
            *statistic_evidence(case, found, "recurrent_radius", Kind.WEIGHT, 1.0),
        )
        return (
            time_finding(
                self, case, found, message=message, evidence=evidence, log_gain=blamed.decades
            ),
        )


RULE = RecurrentContraction()

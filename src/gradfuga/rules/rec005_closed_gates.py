"""Gates that let the state go at every step.

What it finds
    An LSTM whose forget gates, or a GRU whose update gates, keep little of the state on average,
    in a network whose memory is too short.

Why it matters
    The gates multiply what is carried: at torch's default, half open, an LSTM has lost three
    decades after 16 steps, no later than a plain network.

Evidence
    ``gate_keep``, the mean of the gate that keeps the state, against what would keep a thousandth
    over the lag that the task needs; the share of gates where the sigmoid is flat.

Known limits
    A mean hides units that keep for long beside units that do not, as chrono initialisation makes
    them. There the horizon is long, and this rule is silent.

References
    Gers, Schmidhuber and Cummins 2000. Tallec and Ollivier 2018, https://arxiv.org/abs/1804.11188.
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
from ..theory.recurrent import HORIZON
from ._time import statistic_evidence, time_finding

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ClosedGates(AbstractRule):
    """Blames gates that forget."""

    code: ClassVar[str] = "REC005"
    name: ClassVar[str] = "closed-gates"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"gate_keep"})
    cause: ClassVar[str] = "closed_gates"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that reaches farthest back."""
        blamed, memory = blamed_step(case), memory_of(case)
        if blamed is None or not memory.too_short or self.cause not in forgetting_shares(case):
            return ()
        found = blamed.profile
        wanted = float(HORIZON ** (1.0 / max(memory.needed, 1)))
        message = _(
            "The gates at '{path}' keep {keep:.0%} of the state a step, and the gradient with it: "
            "to reach back {needed} steps they would have to keep {wanted:.0%}."
        ).format(path=found.path, keep=blamed.keep, needed=memory.needed, wanted=wanted)
        evidence: tuple[Evidence, ...] = (
            *statistic_evidence(case, found, "gate_keep", Kind.ACTIVATION, wanted),
            *statistic_evidence(case, found, "gate_flat", Kind.ACTIVATION, 0.0),
        )
        return (
            time_finding(
                self, case, found, message=message, evidence=evidence, log_gain=blamed.decades
            ),
        )


RULE = ClosedGates()

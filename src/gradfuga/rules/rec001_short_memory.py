"""A gradient that fades before it reaches the step that the task asks about.

What it finds
    A recurrent network whose gradient has fallen by a thousand, or is cut, within fewer steps than
    the task needs, and whose loss stays where a model of that memory can get.

Why it matters
    What happened more than a horizon ago teaches the network nothing: the weights cannot learn to
    carry it. The gradients of the parameters do not show it, since the last steps feed them well.

Evidence
    The gradient at the joint state at the farthest lag, for a loss at one time, against a
    thousandth of that at lag 1; the horizon against the lag that is needed, which the user states
    (``--lag``) or which cheap models find that see more steps than the horizon.

Known limits
    An adaptive optimizer may escape from a short horizon after a long wait: the initial decay says
    how late, not whether. Needs beyond what ridge regressions find (a product of two far steps) are
    only known where the lag is stated.

References
    Bengio, Simard and Frasconi 1994. Pascanu, Mikolov and Bengio 2013,
    https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ..analysis.remembering import memory_of
from ..analysis.time_causes import blamed_step
from ._time import lag_evidence, steps_text, time_finding

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ShortMemory(AbstractRule):
    """Finds a memory that is too short for its task."""

    code: ClassVar[str] = "REC001"
    name: ClassVar[str] = "short-memory"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that reaches farthest back."""
        memory, blamed = memory_of(case), blamed_step(case)
        if blamed is None or not memory.too_short:
            return ()
        message = _(
            "The gradient reaches back {reach} of {steps} steps at '{path}', and the task needs "
            "{needed}: what lies farther back is not learned."
        )
        if not memory.stated:
            message = _(
                "The gradient reaches back {reach} of {steps} steps at '{path}'. A cheap model "
                "that sees no more reaches u = {short:.2f} on the same examples, one that sees all "
                "{steps} steps {long:.2f}, and the network stays at {u:.2f}."
            )
        found = blamed.profile
        text = message.format(
            reach=steps_text(memory.reach),
            steps=memory.steps,
            path=found.path,
            needed=memory.needed,
            short=memory.short,
            long=memory.long,
            u=memory.reached,
        )
        horizon = Evidence(
            found.path,
            Kind.ACTIVATION_GRAD,
            "memory_horizon",
            found.step,
            memory.reach,
            float(memory.needed),
            "steps",
        )
        return (
            time_finding(
                self,
                case,
                found,
                message=text,
                evidence=(horizon, *lag_evidence(found)),
                log_gain=blamed.decades if blamed.decades < 0.0 else 0.0,
            ),
        )


RULE = ShortMemory()

"""How far back the gradient of a recurrent network reaches.

What it finds
    Recurrences whose gradient has fallen by a thousand, or is cut, before the start of the
    sequence.

Why it matters
    It says what the network cannot learn. Most tasks need no more: then it is no illness.

Evidence
    The horizon, in steps, against the length of the sequence.

Known limits
    Always a note. It becomes a verdict where the task is known to need more (``short-memory``).

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..analysis.remembering import memory_of
from ..analysis.time_causes import blamed_step
from ._time import steps_text, time_finding

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class MemoryHorizon(AbstractRule):
    """Notes how far back the gradient reaches."""

    code: ClassVar[str] = "REC007"
    name: ClassVar[str] = "memory-horizon"
    role: ClassVar[Role] = Role.NOTE
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that reaches farthest back."""
        blamed, memory = blamed_step(case), memory_of(case)
        if blamed is None or memory.too_short or not memory.reach < memory.steps - 1:
            return ()
        found = blamed.profile
        message = _(
            "The gradient reaches back {reach} of {steps} steps at '{path}'. If the task needs "
            "more, say so with --lag."
        )
        if memory.stated:
            message = (
                _(
                    "The gradient reaches back {reach} of {steps} steps at '{path}'; the task "
                    "needs {needed}."
                )
                if memory.needed <= memory.reach
                else _(
                    "The gradient reaches back {reach} of {steps} steps at '{path}', fewer than "
                    "the {needed} that the task is said to need, and yet the network learns."
                )
            )
        elif found.cut is not None and found.cut <= found.horizon:
            message = _(
                "The gradient is cut after {reach} steps at '{path}', where the state is detached. "
                "If the task needs more, say so with --lag."
            )
        text = message.format(
            reach=steps_text(memory.reach),
            steps=memory.steps,
            path=found.path,
            needed=memory.needed,
        )
        horizon = Evidence(
            found.path,
            Kind.ACTIVATION_GRAD,
            "memory_horizon",
            found.step,
            memory.reach,
            float(memory.steps),
            "steps",
        )
        return (
            time_finding(
                self, case, found, message=text, evidence=(horizon,), severity=Severity.NONE
            ),
        )


RULE = MemoryHorizon()

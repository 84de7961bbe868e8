"""Backpropagation through time that is cut before the step that the task asks about.

What it finds
    A state that is detached every so many steps, or carried over from batch to batch without its
    gradient, or sequences that are shorter than the lag that the task needs.

Why it matters
    Beyond the cut there is no gradient at all, whatever the gates do: the network sees the value
    of what it carries, and never learns to carry it.

Evidence
    ``time_cut``, the number of steps through which a gradient flows, against the lag that is
    needed.

Known limits
    What is needed beyond the sequences of one step cannot be seen in the data: state it with
    ``--lag``.

References
    Williams and Peng 1990. Tallec and Ollivier 2017, https://arxiv.org/abs/1705.08209.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role
from ..analysis.remembering import memory_of
from ..analysis.time_causes import blamed_step, cut_short
from ._time import steps_text, time_finding

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class TruncatedBackpropagation(AbstractRule):
    """Blames a truncation."""

    code: ClassVar[str] = "REC006"
    name: ClassVar[str] = "truncated-backpropagation"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"lag_norm.1"})
    cause: ClassVar[str] = "truncated_backpropagation"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the recurrence that reaches farthest back."""
        blamed, memory = blamed_step(case), memory_of(case)
        if blamed is None or not cut_short(case):
            return ()
        found = blamed.profile
        flows = found.cut or found.steps
        message = _(
            "The gradient flows through {flows} steps at '{path}' and is cut there; the task needs "
            "{needed}."
        )
        if found.cut is None:
            message = _(
                "The sequences at '{path}' end after {flows} steps, and the task needs {needed}: "
                "what lies before their start is not in them."
            )
        text = message.format(flows=flows, path=found.path, needed=memory.needed)
        if found.horizon < flows:
            text += " " + _(
                "Within them the gradient fades after {horizon} steps: longer ones alone are not "
                "enough."
            ).format(horizon=steps_text(found.horizon))
        cut = Evidence(
            found.path,
            Kind.ACTIVATION,
            "time_cut",
            found.step,
            float(flows),
            float(memory.needed),
            "steps",
        )
        return (time_finding(self, case, found, message=text, evidence=(cut,)),)


RULE = TruncatedBackpropagation()

"""A loss that falls as the answers get worse, or that no answer can keep from falling.

What it finds
    A loss of one term that enters the total with a minus: a cross entropy, a squared or an
    absolute error that the training makes larger. And a negative log-likelihood below zero: what
    it got are no log-probabilities.

Why it matters
    ``log_softmax(z)[range(n), y].mean()`` without its minus, or ``-criterion(z, y)``, falls without
    end, which looks like learning, while the right answers become ever less likely. ``NLLLoss`` on
    the outputs of a linear layer has no lower end either: the network is paid for large numbers;
    on probabilities it ends at -1, and its gradient does not grow where the answer is wrong.

Evidence
    The term's ``value``, against 0, which no such loss goes below.

Known limits
    A loss with a minus is blamed only where it is the whole of the total and the layer that
    answers learns from it: an adversary, an attack on the inputs and a domain's classifier mean
    their minus. Forgetting on purpose, by ascending the loss of the network's own answers, looks
    the same. Losses that may be negative by themselves (Poisson, Gaussian) are left alone.

References
    PyTorch documentation of ``torch.nn.NLLLoss``: "the input given through a forward call is
    expected to contain log-probabilities of each class".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..flow import base_name
from ._samples import value_at

if TYPE_CHECKING:
    from ..analysis.case import Case

_LIKELIHOODS = frozenset({"NllLoss", "NllLoss2D"})


@final
@dataclass(frozen=True, slots=True)
class LossSign(AbstractRule):
    """Blames a loss whose sign is wrong; notes a likelihood of no probabilities."""

    code: ClassVar[str] = "FLW007"
    name: ClassVar[str] = "loss-sign"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "data_or_labels"

    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return a cause where the sign is wrong, a note on a likelihood below zero."""
        from ..analysis.wrong_sign import reversed_loss  # noqa: PLC0415 (numpy)

        path = reversed_loss(case)
        if path is not None:
            if case.total_steps >= self.fewest_steps:
                message = _(
                    "The loss at '{loss}' enters the total with a minus: the lower it gets, the "
                    "worse are the answers. Turn its sign."
                ).format(loss=path)
                yield self._finding(case, path, message, Role.CAUSE, Severity.FATAL)
            return
        for op in case.graph.ops:
            lowest = self._below_zero(case, op.path) if base_name(op.node) in _LIKELIHOODS else 0.0
            if lowest < 0.0:
                message = _(
                    "The negative log-likelihood at '{loss}' is below zero, where it cannot be: "
                    "what it gets are no log-probabilities. Put log_softmax before it, or use "
                    "cross_entropy on what the last layer gives."
                ).format(loss=op.path)
                yield self._finding(case, op.path, message, Role.NOTE, Severity.MILD)

    def _below_zero(self, case: Case, path: str) -> float:
        """Return the last value of a loss that counts as it is, 0 where there is none."""
        turned, _steps = case.readings.series(path, Kind.LOSS, "reversed")
        value = value_at(case, path, Kind.LOSS, "value", case.steps[-1]) if case.steps else 0.0
        return value if not turned.size and value < 0.0 else 0.0

    def _finding(
        self, case: Case, path: str, message: str, role: Role, severity: Severity
    ) -> Finding:
        step = case.steps[-1]
        value = value_at(case, path, Kind.LOSS, "value", step)
        return Finding(
            code=self.code,
            name=self.name,
            role=role,
            severity=severity,
            message=message,
            paths=(path,),
            source=case.source_of((path,)),
            evidence=(Evidence(path, Kind.LOSS, "value", step, value, 0.0),),
            cause=self.cause if role is Role.CAUSE else "",
        )


RULE = LossSign()

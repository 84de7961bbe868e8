"""A loss that falls as the answers get worse, or that gets no probabilities.

What it finds
    A loss of one term that enters the total with a minus: a cross entropy, a squared or an
    absolute error that the training makes larger. And an ``NLLLoss`` of numbers that are no
    log-probabilities of the classes.

Why it matters
    ``log_softmax(z)[range(n), y].mean()`` without its minus, or ``-criterion(z, y)``, falls without
    end, which looks like learning, while the right answers become ever less likely. ``NLLLoss`` on
    the outputs of a linear layer has no lower end either: the network is paid for large numbers;
    on probabilities it ends at -1, and its gradient does not grow where the answer is wrong. After
    ``log_softmax(dim=0)`` the examples of a batch compete for each class.

Evidence
    The term's value, as ``reversed_loss``, against 0, which no such loss goes below; or
    ``log_total``, the mean size of the logarithm of what the probabilities of 16 examples add up
    to, against 0.1.

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
from ._progress import learns_nothing
from ._samples import value_at

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class WrongLoss(AbstractRule):
    """Blames a loss whose sign is wrong, and a likelihood of no probabilities."""

    code: ClassVar[str] = "FLW007"
    name: ClassVar[str] = "wrong-loss"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "data_or_labels"

    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)
    most: float = 0.1  # what an epsilon or a clamp takes or adds (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on each such term; a note where the network learns all the same."""
        from ..analysis.wrong_sign import reversed_loss  # noqa: PLC0415 (numpy)

        if not case.steps:
            return
        path = reversed_loss(case)
        if path is not None:
            if case.total_steps >= self.fewest_steps:
                message = _(
                    "The loss at '{loss}' enters the total with a minus: the lower it gets, the "
                    "worse are the answers. Turn its sign."
                ).format(loss=path)
                last = case.steps[-1]
                value = value_at(case, path, Kind.LOSS, "value", last)
                evidence = Evidence(path, Kind.LOSS, "reversed_loss", last, value, 0.0)
                yield self._finding(case, message, evidence, accuses=True)
            return
        for op in case.graph.ops:
            total = value_at(case, op.path, Kind.LOSS, "log_total", case.steps[-1])
            if total > self.most:
                message = _(
                    "What the negative log-likelihood at '{loss}' gets are no log-probabilities of "
                    "the classes: they do not add up to 1. Put log_softmax(dim=1) before it, or "
                    "use cross_entropy on what the last layer gives."
                ).format(loss=op.path)
                fails = learns_nothing(case)
                evidence = Evidence(
                    op.path, Kind.LOSS, "log_total", case.steps[-1], total, self.most
                )
                yield self._finding(case, message, evidence, accuses=fails)

    def _finding(self, case: Case, message: str, evidence: Evidence, *, accuses: bool) -> Finding:
        return self.finding(
            severity=Severity.FATAL,
            message=message,
            paths=(evidence.path,),
            source=case.source_of((evidence.path,)),
            evidence=(evidence,),
            accuses=accuses,
        )


RULE = WrongLoss()

"""Layers that the gradient hardly reaches.

What it finds
    Layers whose activation gradient is more than 1.30 decades (20 times) smaller than the
    gradient at the model's output, after the known gain of pooling, averaging and the like is
    taken off. Layers on a branch beside a skip connection do not count, nor do exact zeros: a
    branch that starts at zero is not ill.

Why it matters
    Gains multiply, so what each layer loses adds up in decades. At a depth of six depth scales,
    the limit of trainability, the gradient's norm has fallen by e^-3, which is 1.30 decades.
    Under plain SGD such layers stand still. Adam gives every layer its learning rate and may
    get through, hence the severity follows from what was learned.

Evidence
    ``reach`` of the worst layers in decades, against the limit. Reach is a ratio: multiplying
    the loss by a constant changes nothing.

Known limits
    A network of small finite width scatters around its mean by some tenths of a decade. A
    collapsed spectrum can hide behind a healthy norm. A low reach that healed early is not
    reported on a network that learns well.

References
    Schoenholz et al. 2017, Deep Information Propagation, https://arxiv.org/abs/1611.01232.
    Hochreiter 1991; Bengio, Simard and Frasconi 1994, Learning long-term dependencies with
    gradient descent is difficult.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Finding, Role
from ._progress import learns_well, severity_of_symptom
from ._reach import Reached, at_sample, at_start, evidence_of, lowest, over_all, over_late
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class VanishingGradient(AbstractRule):
    """Finds layers whose reach is below the limit."""

    code: ClassVar[str] = "GRD001"
    name: ClassVar[str] = "vanishing-gradient"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    most_paths: int = 8  # chosen: more are a list, not a message

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the layers below the limit, the worst first."""
        worst = self._worst(case)
        below = tuple(
            sorted((r for r in worst if r.decades < -self.limit), key=lambda r: r.decades)
        )
        if not below:
            return ()
        paths = tuple(each.path for each in below[: self.most_paths])
        text = (
            _(
                "The gradient is more than {limit} times smaller than at the output in {count} of "
                "{layers} layers; at '{layer}' it is {factor} times smaller."
            )
            if below[0].step == case.steps[-1]
            else _(
                "At step {step} the gradient is more than {limit} times smaller than at the output "
                "in {count} of {layers} layers; at '{layer}' it is {factor} times smaller."
            )
        )
        message = text.format(
            step=below[0].step,
            count=len(below),
            layers=len(worst),
            limit=times(self.limit),
            layer=below[0].path,
            factor=times(below[0].decades),
        )
        return (
            self.finding(
                severity=severity_of_symptom(case),
                axis=Axis.DEPTH,
                message=message,
                paths=paths,
                source=case.source_of(paths),
                evidence=evidence_of(below, limit=-self.limit),
            ),
        )

    def _worst(self, case: Case) -> tuple[Reached, ...]:
        """Return the window that shows the lowest reach, of those that count."""
        late = over_late(case)
        if learns_well(case):
            return late
        windows = [late, at_start(case), over_all(case)]
        if case.progress.informed:  # poor or open: the reach may heal early, the damage stays
            windows += [at_sample(case, place) for place in range(len(case.steps))]
        return min(windows, key=lowest)


RULE = VanishingGradient()

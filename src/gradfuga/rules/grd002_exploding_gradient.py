"""A gradient that grows on its way from the output to the first layers.

What it finds
    Layers whose activation gradient at the first sampled step is more than 1.30 decades (20
    times) larger than at the model's output, in a training that learns nothing or breaks; or
    twice that many decades in one that learns less than its task permits.

Why it matters
    The same law as for vanishing, with the other sign: gains above one multiply. A step that
    suits the last layer then throws the first ones about, and the loss with them.

Evidence
    ``reach`` of the worst layers at the first sampled step, in decades, against the limit.

Known limits
    Only the start is judged: in a trained network confident samples make the output's gradient
    small, so that healthy ones show +1.5 to +5 decades later. A network may start at +5 decades
    and train well; it is not reported.

References
    Poole et al. 2016, Exponential expressivity in deep neural networks through transient chaos.
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Finding, Role, Severity
from ._progress import learns_nothing, learns_well, severity_of_symptom
from ._reach import at_start, evidence_of
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ExplodingGradient(AbstractRule):
    """Finds layers whose reach starts above the limit."""

    code: ClassVar[str] = "GRD002"
    name: ClassVar[str] = "exploding-gradient"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    tolerated: float = 2.0  # times the limit, where something is learned (decision rule)
    most_paths: int = 8  # chosen: more are a list, not a message

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the layers above the limit, the worst first."""
        broken = case.progress.nonfinite_step is not None
        if learns_well(case) and not broken:
            return ()
        limit = self.limit if learns_nothing(case) or broken else self.tolerated * self.limit
        above = tuple(
            sorted((r for r in at_start(case) if r.decades > limit), key=lambda r: -r.decades)
        )
        if not above:
            return ()
        paths = tuple(each.path for each in above[: self.most_paths])
        message = _(
            "The gradient starts more than {limit} times larger than at the output in {count} of "
            "{layers} layers; at '{layer}' it is {factor} times larger."
        ).format(
            count=len(above),
            layers=len(at_start(case)),
            limit=times(limit),
            layer=above[0].path,
            factor=times(above[0].decades),
        )
        return (
            self.finding(
                severity=Severity.FATAL if broken else severity_of_symptom(case),
                axis=Axis.DEPTH,
                message=message,
                paths=paths,
                source=case.source_of(paths),
                evidence=evidence_of(above, limit=limit),
            ),
        )


RULE = ExplodingGradient()

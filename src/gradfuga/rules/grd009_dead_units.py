"""Layers with many dead units in a network that learns all the same.

What it finds
    Activations of which at least half of the units are flat for every example of the batch, in
    the last samples of a training that has learned.

Why it matters
    A dead unit gets no gradient, so it stays dead and its weights are ballast. The rest of the
    layer does the work: the network is narrower than it was built.

Evidence
    ``dead_share`` of each such layer, as the median of the last samples, against one half.

Known limits
    Judged by one batch at a time: a unit that answers to rare examples only counts as dead.
    Narrow convolutions of healthy networks reach 0.88. Where nothing is learned, dead-relu
    speaks instead.

References
    Lu, Shin, Su and Karniadakis 2019, Dying ReLU and Initialization,
    https://arxiv.org/abs/1903.06733. Sokar et al. 2023, The Dormant Neuron Phenomenon,
    https://arxiv.org/abs/2302.12902.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..flow import OpRole
from ._samples import late_median, late_steps
from ._words import quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class DeadUnits(AbstractRule):
    """Notes layers that have lost half of their units."""

    code: ClassVar[str] = "GRD009"
    name: ClassVar[str] = "dead-units"
    role: ClassVar[Role] = Role.NOTE
    needs: ClassVar[frozenset[str]] = frozenset({"dead_share"})

    most_dead: float = 0.5  # of the units (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one mild note with the layers, the emptiest first."""
        from ..analysis.conditions import lost_units  # noqa: PLC0415 (numpy)

        progress = case.progress
        if not progress.informed or (progress.poor and lost_units(case)):
            return ()  # the second is the verdict itself
        shares = [
            (op.path, late_median(case, op.path, Kind.ACTIVATION, "dead_share"))
            for op in case.graph.ops
            if op.role is OpRole.ACTIVATION
        ]
        dead = sorted((s for s in shares if s[1] >= self.most_dead), key=lambda s: -s[1])
        if not dead:
            return ()
        paths = tuple(path for path, _share in dead[:8])
        message = _(
            "At least half of the units are dead in layers of this network ({count} in all), up to "
            "{share:.0%} in {layers}; "
            "the network learns with the rest."
        ).format(count=len(dead), share=dead[0][1], layers=quoted(paths[:1]))
        step = late_steps(case)[-1]
        return (
            self.finding(
                severity=Severity.MILD,
                message=message,
                paths=paths,
                source=case.source_of(paths),
                evidence=tuple(
                    Evidence(path, Kind.ACTIVATION, "dead_share", step, share, self.most_dead)
                    for path, share in dead[:4]
                ),
            ),
        )


RULE = DeadUnits()

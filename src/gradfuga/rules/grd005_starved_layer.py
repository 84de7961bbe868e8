"""Layers that the optimizer hardly moves while it moves others.

What it finds
    Layers whose weights move by less than a tenth of their norm over the whole run, at the pace
    of the sampled steps, while another layer moves at least ten times more; and whose gradient
    is below the limit of reach, or whose network learns nothing.

Why it matters
    This is what a vanished gradient does to the weights. It depends on the optimizer in use:
    under SGD a small gradient is a small step, under Adam it is not, until it falls below
    epsilon. The update that was really made is the only honest witness.

Evidence
    ``feed`` of the worst layers, the median update ratio ``|dw| / |w|`` of the sampled steps
    times the number of steps, against a tenth.

Known limits
    Embeddings are left out: only the rows of a batch move. Weights that start at zero have no
    update ratio. A learning rate that is small on purpose for some layers looks the same; with
    a sound reach it is reported only where nothing is learned.

References
    docs/how-it-judges.md, from 702 labelled trainings: fatal runs under SGD have a feed
    of at most 0.09. You, Gitman and Ginsburg 2017, https://arxiv.org/abs/1708.03888 (update
    ratios per layer).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Role
from ..flow import OpRole
from ._feed import feeds
from ._progress import learns_nothing, severity_of_symptom
from ._reach import over_all
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class StarvedLayer(AbstractRule):
    """Finds layers that stand still while others move."""

    code: ClassVar[str] = "GRD005"
    name: ClassVar[str] = "starved-layer"
    role: ClassVar[Role] = Role.SYMPTOM
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})

    starved: float = 0.1  # turnovers over the run (decision rule: fatal SGD runs have .09 at most)
    moves: float = 0.01  # turnovers, of the best fed; below, nobody moves (decision rule)
    against: float = 10.0  # times; else the whole network is fed little (chosen)
    limit: float = 1.30  # decades of reach: six depth scales (Schoenholz et al. 2017)
    fewest_samples: int = 2  # one update ratio is no pace

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the starved layers, the hungriest first."""
        if len(case.steps) < self.fewest_samples:
            return ()
        embeddings = {op.path for op in case.graph.ops if op.role is OpRole.EMBEDDING}
        fed = [each for each in feeds(case) if each.path not in embeddings]
        most = max(fed, key=lambda each: each.feed, default=None)
        if most is None or most.feed < self.moves:
            return ()
        low = {each.path for each in over_all(case) if each.decades < -self.limit}
        anywhere = learns_nothing(case)
        starved = sorted(
            (
                each
                for each in fed
                if each.feed < self.starved
                and each.feed * self.against <= most.feed
                and (anywhere or each.path in low)
            ),
            key=lambda each: each.feed,
        )
        if not starved:
            return ()
        paths = tuple(each.path for each in starved[:8])
        message = _(
            "Layers that hardly move: {count} of {layers}. At this pace the weights of '{layer}' "
            "change by {feed} of their size in {steps} steps, those of '{best}' by {most}."
        ).format(
            count=len(starved),
            layers=len(case.layers),
            layer=paths[0],
            feed=plain(starved[0].feed),
            steps=case.total_steps,
            best=most.path,
            most=plain(most.feed),
        )
        return (
            self.finding(
                severity=severity_of_symptom(case),
                axis=Axis.DEPTH,
                message=message,
                paths=paths,
                source=case.source_of(paths),
                evidence=tuple(
                    Evidence(
                        each.path, Kind.UPDATE, "feed", case.steps[-1], each.feed, self.starved
                    )
                    for each in starved[:4]
                ),
            ),
        )


RULE = StarvedLayer()

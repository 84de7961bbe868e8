"""Search for the treatment: rank, race, combine, and let pairs decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..experiment import Arm, Treatment
from .bench import UNTREATED, Bench
from .candidates import combinations, rates
from .decision import better, compare, enough, learns, promising
from .race import FINALISTS, race
from .ranking import SEED, ranked


@dataclass(slots=True)
class Found:
    """What a search has come to.

    Attributes:
        untreated: the script as it is, with all seeds that it got.
        standing: the finalists, the most promising first.
        winner: the one that is proven, None where none is.
    """

    untreated: Arm
    standing: list[Arm] = field(default_factory=list)
    winner: Arm | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """How treatments are looked for.

    Attributes:
        bench: where they run.
        steps: of one training.
        hurdle: the step by which a training must have learned something to go on; 0 for none.
        seeds: pairs that decide.
        most: treatments that are trained with, in each round.
        abreast: processes side by side.
        permitted: progress of the reference learner, NaN where there is none.
    """

    bench: Bench
    steps: int
    hurdle: int
    seeds: range
    most: int
    abreast: int
    permitted: float

    def among(self, treatments: Sequence[Treatment]) -> Found:
        """Look for the smallest treatment that makes the script learn.

        Single ones are raced in the order of the reach that they leave. If none does enough, the
        best two are combined with each of the others and with another learning rate.
        """
        [untreated] = self.bench.arms([UNTREATED], SEED, self.steps)
        found = Found(untreated)
        order = ranked(self.bench, untreated, treatments)
        found.standing = self.raced(order)
        if found.standing and not self._does(found.standing[0]) and not self.bench.late:
            bases = [arm.treatment for arm in found.standing]
            pairs = combinations(bases, (*order, *rates()))
            raced = self.raced(ranked(self.bench, untreated, pairs))
            found.standing = promising([*found.standing, *raced])[:FINALISTS]
        return self.decided(found)

    def raced(self, order: Sequence[Treatment]) -> list[Arm]:
        """Race treatments in a given order; return the finalists."""
        return race(
            self.bench,
            order[: self.most],
            steps=self.steps,
            hurdle=self.hurdle,
            abreast=self.abreast,
            enough=self._does,
        )

    def decided(self, found: Found) -> Found:
        """Give the finalists all seeds, the most promising first, until one is proven."""
        for finalist in found.standing:
            [found.untreated] = self.bench.arms([UNTREATED], self.seeds, self.steps)
            [arm] = self.bench.arms([finalist.treatment], self.seeds, self.steps)
            if better(compare(found.untreated, arm)) and learns(arm):
                found.winner = arm
                break
        return found

    def _does(self, arm: Arm) -> bool:
        return enough(arm, self.permitted)

"""Search for the treatment: race, combine, and let pairs decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..experiment import Arm, Treatment
from .bench import UNTREATED, Bench
from .candidates import combinations, rates
from .decision import better, compare, enough, learns, promising
from .departure import departure
from .race import FINALISTS, SEED, Race


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


def lasting_first(treatments: Sequence[Treatment]) -> list[Treatment]:
    """Keep the order of the diagnosis, what cannot be written into the source behind the rest."""
    return sorted(treatments, key=lambda each: not each.lasting)


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
        by_reach: whether the reach that a treatment leaves is measured, and rules the race.
        order: puts treatments into the order in which they are raced.
    """

    bench: Bench
    steps: int
    hurdle: int
    seeds: range
    most: int
    abreast: int
    permitted: float
    by_reach: bool = True
    order: Callable[[Sequence[Treatment]], Sequence[Treatment]] = lasting_first

    def among(self, treatments: Sequence[Treatment]) -> Found:
        """Look for the smallest treatment that makes the script learn.

        Single ones are raced first. If none does enough, the best two are combined with each of
        the others and with another learning rate.
        """
        [untreated] = self.bench.arms([UNTREATED], SEED, self.steps)
        found = Found(untreated, self.raced(untreated, treatments))
        if not any(map(self._does, found.standing)) and not self.bench.late:
            bases = [arm.treatment for arm in found.standing] or treatments[:FINALISTS]
            raced = self.raced(untreated, combinations(bases, (*treatments, *rates())))
            found.standing = promising([*found.standing, *raced])[:FINALISTS]
        return self.decided(found)

    def raced(self, untreated: Arm, treatments: Sequence[Treatment]) -> list[Arm]:
        """Race treatments; return the finalists."""
        ill = bool(untreated.runs) and departure(untreated.runs[0].depth) > 0.0
        return Race(
            self.bench,
            steps=self.steps,
            hurdle=self.hurdle,
            abreast=self.abreast,
            most=self.most,
            enough=self._does,
            gated=self.by_reach and ill,
        ).run(self.order(treatments))

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

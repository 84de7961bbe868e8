"""Search for the treatment: race, combine, and let pairs decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..experiment import Arm, Treatment
from .bench import UNTREATED, Bench
from .candidates import combinations, raised_further, rates
from .decision import as_good, better, compare, enough, learns, promising
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


def cheapest_first(treatments: Sequence[Treatment]) -> list[Treatment]:
    """Keep the order of the diagnosis, but try the better bargain first.

    What cannot be written into the source comes last. Of the others the best of every kind comes
    before the second best of any; among these what costs nothing in a step before what does.
    """
    taken: Counter[str] = Counter()
    keys: dict[Treatment, tuple[bool, int, bool]] = {}
    for each in treatments:
        kind = each.edits[0].kind if each.edits else ""
        keys.setdefault(each, (not each.lasting, taken[kind], each.costly))
        taken[kind] += 1
    return sorted(treatments, key=keys.__getitem__)


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
    order: Callable[[Sequence[Treatment]], Sequence[Treatment]] = cheapest_first

    def among(self, treatments: Sequence[Treatment]) -> Found:
        """Look for the smallest treatment that makes the script learn.

        Single ones are raced first. If none does enough, the best two are combined with each of
        the others that have a place, and with another learning rate.
        """
        [untreated] = self.bench.arms([UNTREATED], SEED, self.steps)
        found = Found(untreated, self.raced(untreated, treatments))
        if not any(map(self._does, found.standing)) and not self.bench.late:
            placed = [each for each in treatments if not self.bench.arm(each, SEED, 1).failed]
            bases = [arm.treatment for arm in found.standing] or placed[:FINALISTS]
            more = combinations(bases, (*placed, *rates())) if bases else rates()
            raced = self.raced(untreated, more)
            found.standing = promising([*found.standing, *raced])[:FINALISTS]
        found.standing = self.ranged(found.standing)
        return self.decided(found)

    def ranged(self, standing: list[Arm]) -> list[Arm]:
        """Raise the rate on by decades where raising it is what helps, until it helps no more.

        The first rate at which a network learns is the lowest of those at which it does. A rate
        that is lowered is left where it first learns: lower ones are only slower.

        References:
            Smith 2017, Cyclical Learning Rates (the range test).
        """
        while standing and learns(standing[0]) and not self.bench.late:
            further = raised_further(standing[0].treatment)
            if further is None:
                break
            [arm] = self.bench.arms([further], SEED, self.steps, hurdle=self.hurdle)
            if not arm.runs or not learns(arm) or as_good(standing[0], arm.score):
                break
            standing = [arm, *standing][:FINALISTS]
        return standing

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

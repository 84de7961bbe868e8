"""Race treatments with one seed: most steps for those that learn, few for those that do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

from ..experiment import Arm, Treatment
from .bench import Bench
from .decision import learns, promising
from .departure import departure

FINALISTS = 2  # chosen: whom all seeds are spent on
SEED = (0,)  # the seed of all races


@final
class Race:
    """One race of treatments, the order of which is that of the diagnosis.

    The reach that a treatment leaves is measured at the first step of its training, on one batch
    and before any update. Within the limit of trainability it tells no more: the training goes
    on. Beyond it the training ends there, and has its turn, the best reach first, only where no
    other learns. A training that has learned nothing at the hurdle ends there, too. The first one
    that does enough ends the race. If none learns, the better half of those that were ended at the
    hurdle runs again, up to a hurdle twice as far, and so on to the end (successive halving).

    Args:
        bench: where they run.
        steps: of one whole training.
        hurdle: the first one, in steps; 0 for none.
        abreast: how many start together, as many as run side by side.
        most: how many treatments are trained with.
        enough: whether a whole training's progress is all that can be asked for.
        gated: whether the reach is measured; it is of no use where the untreated one is good.

    References:
        Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter
        Optimization. Schoenholz et al. 2017, Deep Information Propagation (the limit)
    """

    def __init__(
        self,
        bench: Bench,
        *,
        steps: int,
        hurdle: int,
        abreast: int,
        most: int,
        enough: Callable[[Arm], bool],
        gated: bool,
    ) -> None:
        self._bench, self._steps, self._hurdle = bench, steps, hurdle
        self._abreast, self._most, self._enough = abreast, most, enough
        self._gated = gated
        self._arms: dict[Treatment, Arm] = {}

    def run(self, treatments: Sequence[Treatment]) -> list[Arm]:
        """Return the finalists, the most promising first."""
        over = self._lap(treatments, self._hurdle, gated=self._gated)
        barred = [arm for arm in self._arms.values() if self._barred(arm)]
        if not over and barred:
            barred.sort(key=_distance)
            over = self._lap([arm.treatment for arm in barred], self._hurdle)
        height, ended = self._hurdle, self._ended()
        while not over and ended:
            height = 2 * height if 2 * height < self._steps else 0
            better = [arm.treatment for arm in promising(ended)[: (len(ended) + 1) // 2]]
            over = self._lap(better, height)
            ended = [arm for arm in self._ended() if arm.treatment in better]
        return promising([arm for arm in self._arms.values() if not self._barred(arm)])[:FINALISTS]

    def _lap(self, treatments: Sequence[Treatment], hurdle: int, *, gated: bool = False) -> bool:
        """Train with each, `abreast` at a time; return whether the race is over."""
        for first in range(0, len(treatments), self._abreast):
            group = treatments[first : first + self._abreast]
            trained = {each for each, arm in self._arms.items() if not self._barred(arm)}
            if len(trained) >= self._most and not trained.issuperset(group):
                break
            for arm in self._bench.arms(group, SEED, self._steps, hurdle=hurdle, gated=gated):
                if arm.runs and not arm.failed:
                    self._arms[arm.treatment] = arm
            if any(self._whole(arm) and self._enough(arm) for arm in self._arms.values()):
                return True
        return self._bench.late or any(
            self._whole(arm) and learns(arm) for arm in self._arms.values()
        )

    def _whole(self, arm: Arm) -> bool:
        return all(run.steps >= self._steps or run.ended for run in arm.runs)

    def _barred(self, arm: Arm) -> bool:
        return self._gated and all(run.steps == 1 < self._steps for run in arm.runs)

    def _ended(self) -> list[Arm]:
        """Return those that came to the hurdle and no further."""
        arms = self._arms.values()
        return [arm for arm in arms if not self._whole(arm) and not self._barred(arm)]


def _distance(arm: Arm) -> float:
    left = departure(arm.runs[0].depth)
    return math.inf if math.isnan(left) else left  # what was not read comes last

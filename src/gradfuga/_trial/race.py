"""Race treatments with one seed: most steps for those that learn, few for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..experiment import Arm, Treatment
from .bench import Bench
from .decision import learns, promising
from .ranking import SEED

FINALISTS = 2  # chosen: whom all seeds are spent on


def race(
    bench: Bench,
    treatments: Sequence[Treatment],
    *,
    steps: int,
    hurdle: int,
    abreast: int,
    enough: Callable[[Arm], bool],
) -> list[Arm]:
    """Race treatments by successive halving, in the order in which they are given.

    A training that has learned nothing at the hurdle ends there. The first one that does enough
    ends the race. If none learns, the better half of those that were ended runs again, up to a
    hurdle twice as far, and so on to the end of the slice.

    Args:
        bench: where they run.
        treatments: the best one first.
        steps: of one whole training.
        hurdle: the first one, in steps; 0 for none.
        abreast: how many start together, as many as run side by side.
        enough: whether a whole training's progress is all that can be asked for.

    Returns:
        The finalists, the most promising first.

    References:
        Jamieson & Talwalkar 2016, Non-stochastic Best Arm Identification and Hyperparameter
        Optimization
    """
    arms: dict[Treatment, Arm] = {}
    standing, height = list(treatments), hurdle
    while standing:
        for first in range(0, len(standing), abreast):
            group = standing[first : first + abreast]
            for arm in bench.arms(group, SEED, steps, hurdle=height):
                if arm.runs and not arm.failed:
                    arms[arm.treatment] = arm
            if any(_whole(arm, steps) and enough(arm) for arm in arms.values()):
                return promising(list(arms.values()))[:FINALISTS]
        whole = [arm for arm in arms.values() if _whole(arm, steps)]
        if bench.late or any(learns(arm) for arm in whole):
            break
        raced = [arms[each] for each in standing if each in arms]
        ended = promising([arm for arm in raced if not _whole(arm, steps)])
        standing = [arm.treatment for arm in ended[: (len(ended) + 1) // 2]]
        height = 2 * height if 2 * height < steps else 0
    return promising(list(arms.values()))[:FINALISTS]


def _whole(arm: Arm, steps: int) -> bool:
    """Whether all its trainings came to the end of the slice."""
    return all(run.steps >= steps or run.ended for run in arm.runs)

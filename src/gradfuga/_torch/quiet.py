"""Choose the ops of a long recurrence that a sampled step leaves unread.

A loop over a thousand steps makes ten thousand ops, and a hook on each costs ten times the step.
Along time neighbours say the same: the steps next to the loss are read whole, then ever fewer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from .chains import Chain
from .walk import Walk

_WHOLE = 24  # recurrences up to this length are read step by step
_NEAR = 6  # steps next to the loss that are always read


def quiet_ops(walk: Walk, chains: Iterable[Chain]) -> frozenset[int]:
    """Return the places of the ops that belong to steps that are not read.

    Args:
        walk: a backward graph.
        chains: its recurrences.
    """
    numbers = [node._sequence_nr() for node in walk.nodes]  # noqa: SLF001
    quiet: set[int] = set()
    for chain in chains:
        count = len(chain.uses)
        if count <= _WHOLE:
            continue
        read = read_steps(count)
        starts = [numbers[place] for place in chain.uses]
        for place, number in enumerate(numbers):
            if starts[0] <= number < starts[-1] and bisect_right(starts, number) not in read:
                quiet.add(place)
    return frozenset(quiet)


def read_steps(count: int) -> frozenset[int]:
    """Return the numbers of the steps that are read of `count`, 1 for the first.

    Example:
        >>> sorted(read_steps(100))
        [1, 5, 37, 53, 69, 77, 85, 89, 93, 95, 96, 97, 98, 99, 100]
    """
    back = {1, *range(_NEAR)}
    lag = _NEAR + 1
    while lag < count:
        back |= {lag, lag + lag // 2 + 1}
        lag = 2 * lag + 1
    return frozenset({1, *(count - lag for lag in back if lag < count)})

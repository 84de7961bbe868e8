"""Find the joint state between the steps of a loop over time: what the next step is given.

Inside a step the values that a later step still waits for are many (gates, a candidate, a scaled
state); between two steps they are the state and nothing else. So the state is where the fewest
values cross: the narrowest cut between one use of the recurrent weight and the next, at the same op
of every step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch.autograd.graph import Node

from ..flow import OpRole
from .chains import Chain
from .walk import Walk


@dataclass(frozen=True, slots=True)
class StateCuts:
    """The cuts between the uses of a recurrent weight.

    Attributes:
        start: places of the ops that made the state which the last step is given.
        after: autograd's number of the last op before each earlier cut, latest first: an op with a
            higher one runs backward before the gradient at that state is complete.
        states: places of the ops that made a state, of any step.
    """

    start: tuple[int, ...]
    after: tuple[int, ...]
    states: frozenset[int]


def find_cuts(
    walk: Walk,
    chain: Chain,
    uses: Sequence[int],
    following: Mapping[int, Sequence[tuple[int, int]]],
    numbers: Sequence[int],
) -> StateCuts | None:
    """Return the narrowest cuts, None where the last use depends on no earlier step.

    Args:
        walk: the backward graph.
        chain: a recurrence in it.
        uses: of its weight, first step first.
        following: for each op of the walk, the (slot, op) that its gradient goes to.
        numbers: autograd's, of every op.
    """
    first = numbers[uses[0]]
    dies = {uses[-1]: numbers[uses[-1]]}  # the last op that reads what an op made
    for place in _reaching(uses[-1], chain, following, numbers, first):
        for _, producer in following.get(place, ()):
            if chain.depends[producer] and numbers[producer] >= first:
                dies[producer] = max(dies.get(producer, 0), numbers[place])
    order = sorted(dies, key=lambda place: numbers[place])
    narrowest = _narrowest(walk, order, dies, uses, numbers)
    # the first step reads no state of the loop's, the last one ends: one between tells them all
    typical = narrowest[(len(narrowest) - 1) // 2]
    if typical is None:
        return None
    name, rank = _called(walk, chain, typical, uses, numbers)
    named = [
        numbers[place]
        for place, depends in enumerate(chain.depends)
        if depends and walk.nodes[place].name() == name
    ]
    named.sort()
    cuts: list[int] = []
    for count, narrow in enumerate(narrowest):
        until = bisect_left(named, numbers[uses[count + 1]])
        place = until - rank
        alike = place >= 0 and named[place] >= numbers[uses[count]]
        if not alike and narrow is None:
            return None
        cuts.append(named[place] if alike else numbers[narrow])  # type: ignore[index]  # not None
    crossing = [
        place
        for place in order
        if bisect_left(cuts, numbers[place]) < bisect_left(cuts, dies[place])
    ]
    last = cuts.pop()
    start = tuple(place for place in crossing if numbers[place] <= last < dies[place])
    if not start:
        return None
    return StateCuts(start, tuple(reversed(cuts)), frozenset(crossing))


def _narrowest(
    walk: Walk,
    order: Sequence[int],
    dies: Mapping[int, int],
    uses: Sequence[int],
    numbers: Sequence[int],
) -> list[int | None]:
    """Return the op after which the fewest values are waited for, in each gap between two uses.

    Of several alike the last one, where nothing of the next step has begun, but no view: the state
    as the user made it, with an example a row.
    """
    ends: dict[int, list[int]] = {}
    for place in order:
        ends.setdefault(dies[place], []).append(place)
    best: list[int | None] = [None] * (len(uses) - 1)
    least = [0] * len(best)
    gap, width = -1, 0
    sizes = {place: _size(walk.nodes[place]) for place in order}
    for place in order:
        number = numbers[place]
        while gap + 1 < len(uses) and number >= numbers[uses[gap + 1]]:
            gap += 1
        width += sizes[place]
        width -= sum(sizes[gone] for gone in ends.get(number, ()) if gone != place)
        if 0 <= gap < len(best):
            again = width == least[gap] and walk.roles[place] is not OpRole.STRUCTURAL
            if best[gap] is None or width < least[gap] or again:
                best[gap], least[gap] = place, width
    return best


def _called(
    walk: Walk, chain: Chain, cut: int, uses: Sequence[int], numbers: Sequence[int]
) -> tuple[str, int]:
    """Return an op's name, and as which of that name it runs, counted back from the next use."""
    name, number = walk.nodes[cut].name(), numbers[cut]
    following = min(numbers[use] for use in uses if numbers[use] > number)
    rank = sum(
        bool(depends) and number <= numbers[place] < following
        for place, depends in enumerate(chain.depends)
        if walk.nodes[place].name() == name
    )
    return name, rank


def _reaching(
    use: int,
    chain: Chain,
    following: Mapping[int, Sequence[tuple[int, int]]],
    numbers: Sequence[int],
    first: int,
) -> set[int]:
    """Return the ops of the recurrence whose results reach its last use, that use among them."""
    seen, stack = {use}, [use]
    while stack:
        for _, producer in following.get(stack.pop(), ()):
            if producer not in seen and chain.depends[producer] and numbers[producer] >= first:
                seen.add(producer)
                stack.append(producer)
    return seen


def _size(node: Node) -> int:
    """Return the number of values that an op made."""
    total = 0
    for each in node._input_metadata:  # noqa: SLF001 (shape and dtype of its outputs)
        count = 1
        for side in each.shape:
            count *= int(side)
        total += count
    return total

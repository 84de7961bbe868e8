"""Find the recurrences of a backward graph: a weight used again and again along one chain.

In a loop over time each use of the recurrent weight depends on the use before it. A weight that is
applied to every position of a sequence alike (an output layer, an embedding) is used as often,
but its uses do not depend on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from .walk import Walk

# A weight used this often along one chain is a recurrence (decision rule).
FEWEST_USES = 6
_MOST_WEIGHTS = 32  # candidates that are followed
_FEEDBACK = 2  # steps after which a weight feels another one on the same chain


@dataclass(frozen=True, slots=True)
class Chain:
    """One recurrence.

    Attributes:
        weight: the recurrent weight.
        uses: places of its uses in the walk, first step first: the longest run of them in which
            each depends on the one before.
        total: all uses of the weight in this graph; more than `len(uses)` where the chain is cut.
        depends: for every op of the walk, the number of the last use of the run that it depends
            on (1 for the first), 0 for none.
    """

    weight: Tensor
    uses: tuple[int, ...]
    total: int
    depends: tuple[int, ...]


def find_chains(walk: Walk, names: Callable[[], Mapping[int, str]]) -> tuple[Chain, ...]:
    """Return the recurrences of `walk`, the one that runs first in the forward pass first.

    Args:
        walk: a backward graph.
        names: gives the dotted name of each parameter by identity, as far as they are known.
    """
    numbers = [node._sequence_nr() for node in walk.nodes]  # noqa: SLF001
    uses: dict[int, list[int]] = {}
    weights: dict[int, Tensor] = {}
    for place, entering in enumerate(walk.leaves):
        for _, parameter in entering:
            weights[id(parameter)] = parameter
            uses.setdefault(id(parameter), []).append(place)
    often = [(key, places) for key, places in uses.items() if len(places) >= FEWEST_USES]
    following: list[list[int]] = [[] for _ in walk.nodes]
    for consumer, _, producer in walk.edges:
        following[consumer].append(producer)
    found: list[Chain] = []
    # a vector is asked only where no matrix is recurrent: else it is a bias, a scale
    for vectors in (False, True):
        asked = [each for each in often if (weights[each[0]].dim() <= 1) == vectors]
        for key, places in asked[:_MOST_WEIGHTS] if not found else ():
            ordered = sorted(set(places), key=lambda place: numbers[place])
            chain = _longest(weights[key], ordered, following)
            if chain is not None:
                found.append(chain)
    if not found:
        return ()
    kept = _one_a_recurrence(found, names())
    return tuple(sorted(kept, key=lambda chain: numbers[chain.uses[0]]))


def is_continued(
    chain: Chain, chains: Sequence[Chain], layers: Collection[int], walk: Walk
) -> bool:
    """Whether the first state of `chain` was made by the last step of another recurrence.

    A decoder that goes on from the state of its encoder.

    Args:
        chain: a recurrence.
        chains: all that run step by step.
        layers: identities of the recurrent weights of torch's layers, which run as one op.
        walk: the backward graph.
    """
    makers: dict[int, list[int]] = {}
    for taker, _, maker in walk.edges:
        makers.setdefault(taker, []).append(maker)
    entering = makers.get(chain.uses[0], [])
    if any(
        other.depends[maker] == len(other.uses)
        for other in chains
        if other is not chain
        for maker in entering
    ):
        return True
    others = frozenset(layers) - {id(other.weight) for other in chains}
    seen, stack = set(entering), list(entering) if others else []
    while stack:
        place = stack.pop()
        if any(id(parameter) in others for _, parameter in walk.leaves[place]):
            return True
        stack += (new := [maker for maker in makers.get(place, ()) if maker not in seen])
        seen.update(new)
    return False


def _longest(
    weight: Tensor, ordered: Sequence[int], following: Sequence[Sequence[int]]
) -> Chain | None:
    """Follow one weight; None where no run of its uses is long enough."""
    number = {place: count for count, place in enumerate(ordered, start=1)}
    before = [0] * len(following)  # the last use that an op's inputs depend on
    depends = [0] * len(following)
    for place in range(len(following) - 1, -1, -1):  # producers first
        above = max((depends[producer] for producer in following[place]), default=0)
        before[place] = above
        depends[place] = max(above, number.get(place, 0))
    runs: list[list[int]] = [[]]
    for count, place in enumerate(ordered, start=1):
        if before[place] != count - 1:
            runs.append([])
        runs[-1].append(place)
    best = max(runs, key=len)
    if len(best) < FEWEST_USES:
        return None
    first = number[best[0]]
    inside = tuple(each - first + 1 if first <= each < first + len(best) else 0 for each in depends)
    return Chain(weight, tuple(best), len(ordered), inside)


def _one_a_recurrence(found: Sequence[Chain], names: Mapping[int, str]) -> list[Chain]:
    """Of weights that feed each other along the same chain keep the one that takes the state.

    A decoder that is fed its own output has its input and output weights on the chain too.
    """
    kept: list[Chain] = []
    for chain in sorted(found, key=lambda each: _likeness(each, names)):
        mutual = any(
            len(other.uses) == len(chain.uses)
            and other.depends[chain.uses[-1]] >= len(chain.uses) - _FEEDBACK
            and chain.depends[other.uses[-1]] >= len(chain.uses) - _FEEDBACK
            for other in kept
        )
        if not mutual or _is_hidden(chain, names):
            kept.append(chain)
    return kept


def _likeness(chain: Chain, names: Mapping[int, str]) -> tuple[bool, bool, float]:
    """Sort recurrent weights first: torch's by name, others square, or a multiple of it."""
    rows = chain.weight.shape[0] if chain.weight.dim() else 1
    columns = chain.weight.numel() // max(rows, 1)
    named = _is_hidden(chain, names)
    large, small = max(rows, columns), max(min(rows, columns), 1)
    return (not named, large % small != 0, large / small)


def _is_hidden(chain: Chain, names: Mapping[int, str]) -> bool:
    """Whether the weight has the name that torch gives to hidden-to-hidden weights."""
    return "hh" in names.get(id(chain.weight), "").rpartition(".")[2]

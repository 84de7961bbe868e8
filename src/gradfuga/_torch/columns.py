"""Values in columns: eight bytes each, and one append for everything that a step has measured."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, final

import numpy as np

from ..readings import Key

if TYPE_CHECKING:
    from ..readings import Floats, Steps


@final
class Columns:
    """Holds one value a step for each of many keys.

    Steps that measure the same things, as nearly all do, share a block: their keys once, their
    values row by row.
    """

    def __init__(self) -> None:
        self._blocks: dict[tuple[Key, ...], _Block] = {}
        self._latest: _Block | None = None
        self._rows = 0  # put so far; tells which of two rows of one step came later
        self.values = 0  # how many are held

    def put(self, step: int, keys: Sequence[Key], values: Sequence[float]) -> None:
        """Take what a step has measured; of two values for one key and step the later counts."""
        block = self._latest
        if block is None or block.keys != keys:
            named = tuple(keys)
            block = self._blocks.get(named)
            if block is None:
                block = self._blocks[named] = _Block(keys)
            self._latest = block
        block.steps.append(step)
        block.order.append(self._rows)
        block.values.extend(values)
        self._rows += 1
        self.values += len(keys)

    def drop(self, gone: Collection[int]) -> None:
        """Let go of the values of these steps."""
        for named, block in list(self._blocks.items()):
            block.drop(gone)
            if not block.steps:
                del self._blocks[named]
        self._latest = None
        self.values = sum(len(block.values) for block in self._blocks.values())

    def series(self) -> Mapping[Key, tuple[Steps, Floats]]:
        """Return steps, ascending, and values of every key."""
        found: dict[Key, list[tuple[Steps, Steps, Floats]]] = {}
        for block in self._blocks.values():
            steps, order = (np.array(each, dtype=np.int64) for each in (block.steps, block.order))
            table = np.array(block.values, dtype=np.float64).reshape(len(steps), len(block.keys))
            for key, column in zip(block.keys, table.T, strict=True):
                found.setdefault(key, []).append((steps, order, column))
        return {key: _joined(pieces) for key, pieces in found.items()}


@final
class _Block:
    """Steps that have measured the same things."""

    __slots__ = ("keys", "order", "steps", "values")

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = list(keys)
        self.steps = array("q")
        self.order = array("q")
        self.values = array("d")

    def drop(self, gone: Collection[int]) -> None:
        places = [place for place, step in enumerate(self.steps) if step not in gone]
        if len(places) == len(self.steps):
            return
        table = np.array(self.values, dtype=np.float64).reshape(len(self.steps), len(self.keys))
        self.values = array("d", table[places].tobytes())
        self.steps = array("q", [self.steps[place] for place in places])
        self.order = array("q", [self.order[place] for place in places])


def _joined(pieces: Sequence[tuple[Steps, Steps, Floats]]) -> tuple[Steps, Floats]:
    """Return one column of several pieces, by step; a step's last value counts."""
    if len(pieces) == 1:
        steps, order, values = pieces[0]
        if (steps[1:] > steps[:-1]).all():
            return steps, values.copy()
    else:
        steps, order, values = (np.concatenate(each) for each in zip(*pieces, strict=True))
    places = np.lexsort((order, steps))  # stable: of one row the later column counts
    steps = steps[places]
    last = np.append(steps[1:] != steps[:-1], True)
    return steps[last], values[places][last]

"""Tell which backward passes belong to which optimizer, where several take turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from .passes import Entry
from .training import Training

# An optimizer that has stepped once may be a GAN's, whose other one steps several times between;
# it is waited for this long before its next step is no longer expected.
_FIRST_GAP = 16


@final
class Turns:
    """Remembers in which order the optimizers of a script step, and on which passes."""

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[int, int] = {}
        self._gap: dict[int, int] = {}
        self._pattern: dict[tuple[int, int], tuple[int, ...]] = {}

    def take(self, training: Training) -> None:
        """Note that an optimizer of `training` steps."""
        key = id(training)  # the watch holds every training as long as this lives
        self._count += 1
        if key in self._last:
            self._gap[key] = max(self._gap.get(key, 1), self._count - self._last[key])
        self._last[key] = self._count

    def awake(self, training: Training) -> bool:
        """Whether `training` is expected to step again, or was left for others (k-fold)."""
        key = id(training)
        silent = self._count - self._last.get(key, self._count)
        return silent <= 2 * self._gap.get(key, _FIRST_GAP)

    def share(
        self, training: Training, waiting: Sequence[Entry], own: Sequence[Tensor]
    ) -> list[Entry]:
        """Return those of the `waiting` passes that are `training`'s.

        On sampled steps the tape tells which parameters each pass reached; a pass that reached
        this training's `own` alone is preferred to one that reached others' too (in a GAN the
        generator's loss runs through the discriminator). The steps between go by the same
        places among as many passes.
        """
        key = (id(training), len(waiting))
        if all(entry.record is None for entry in waiting):
            places = self._pattern.get(key, tuple(range(len(waiting))))
            return [waiting[place] for place in places]
        wanted = {id(p) for p in own}
        strangers: dict[int, int] = {}
        for place, entry in enumerate(waiting):
            reached = {id(p) for p in entry.record.parameters} if entry.record else set()
            if reached & wanted:
                strangers[place] = len(reached - wanted)
        fewest = min(strangers.values(), default=0)
        places = tuple(place for place, count in strangers.items() if count == fewest)
        self._pattern[key] = places
        return [waiting[place] for place in places]

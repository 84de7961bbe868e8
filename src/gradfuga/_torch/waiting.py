"""Keep the backward passes that wait for their optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor

from .passes import Entry, Site, site_of

_MOST_ENTRIES = 64  # backward passes without a step (adversarial examples, say)


@final
class Waiting:
    """The passes since the last step, in their order; after a step, until the next pass begins.

    Attributes:
        entries: the passes.
        stepped: whether an optimizer has stepped on them.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.stepped = False
        self._plural = False  # whether a step has had several passes
        self._begun = 0  # passes that were there when the running optimizer's step began

    def open(self) -> None:
        """A pass begins: those of the step before are over."""
        if self.stepped:
            self.entries.clear()
            self.stepped = False

    def add(self, entry: Entry) -> None:
        """Take one more pass in."""
        if len(self.entries) < _MOST_ENTRIES:
            self.entries.append(entry)
        else:
            self.entries[-1] = entry

    def site(self, roots: Sequence[Tensor], *, sampled: bool) -> Site:
        """Return where the program calls a pass, nothing while a step has one pass alone.

        Following the frames is a fifth of what a step costs that is not sampled.
        """
        if self.entries and not self._plural:
            self._plural = True
            if not self.entries[0].site:  # a micro-batch, as far as one can know
                self.entries[0].site = site_of(roots)
        return site_of(roots) if self._plural or sampled else ()

    def take(self, optimizer: int) -> list[Entry]:
        """Return the passes that `optimizer` has not stepped on, and note that now it does."""
        # the next pass does away with those of a step that is over
        self._begun = 0 if self.stepped else len(self.entries)
        found = []
        for entry in self.entries:
            if optimizer not in entry.taken_by and (entry.wanted is None or entry.counts):
                entry.taken_by.append(optimizer)
                found.append(entry)
        return found

    @property
    def has_late(self) -> bool:
        """Whether passes have run since passes were last taken: inside the step, of a closure."""
        return len(self.entries) > self._begun

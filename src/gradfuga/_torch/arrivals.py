"""Count on how many samples a gradient arrived at each parameter, was exactly zero, or was none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from .norms import Measured, resolve

_MOST_PENDING = 64  # samples whose norms may wait on their device


@dataclass(slots=True)
class Arrival:
    """Samples by what came to one parameter."""

    arrived: int = 0
    zero: int = 0
    missing: int = 0


@final
class Arrivals:
    """Keeps the counts of one training's parameters by their identity."""

    def __init__(self) -> None:
        self._counts: dict[int, Arrival] = {}
        self._pending: list[tuple[tuple[int, ...], tuple[Measured, ...]]] = []

    def note(self, parameters: Sequence[Tensor], norms: Sequence[Measured | None]) -> None:
        """Take one sample.

        Args:
            parameters: in the order of the norms.
            norms: |gradient| of each, None where it has none. NaN is something that arrived.
        """
        counts = self._counts
        waiting: list[int] = []
        values: list[Measured] = []
        for parameter, norm in zip(parameters, norms, strict=True):
            count = counts.get(id(parameter))
            if count is None:
                count = counts[id(parameter)] = Arrival()
            if norm is None:
                count.missing += 1
            elif not isinstance(norm, float):
                waiting.append(id(parameter))
                values.append(norm)
            elif norm == 0.0:
                count.zero += 1
            else:
                count.arrived += 1
        if waiting:
            self._pending.append((tuple(waiting), tuple(values)))
            if len(self._pending) >= _MOST_PENDING:
                self._settle()

    def _settle(self) -> None:
        norms = iter(resolve([norm for _, norms in self._pending for norm in norms]))
        for identities, _ in self._pending:
            for identity in identities:
                if next(norms) == 0.0:
                    self._counts[identity].zero += 1
                else:
                    self._counts[identity].arrived += 1
        self._pending.clear()

    def counts(self) -> Mapping[int, Arrival]:
        """Return the counts so far, by the identity of the parameter."""
        self._settle()
        return self._counts

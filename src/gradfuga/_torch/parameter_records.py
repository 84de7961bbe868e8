"""Describe every parameter of a training: its names and shape, and what came to it."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import final

from torch import Tensor

from ..readings import ParameterRecord
from .arrivals import Arrival, Arrivals
from .joined import AnyOptimizer
from .naming import Names
from .norms import Measured, is_zero
from .parameters import SeenGradient


@final
class ParameterRecords:
    """Keeps the description of each parameter, as at the end of a run it may be gone."""

    def __init__(self) -> None:
        self._described: dict[int, ParameterRecord] = {}
        self._arrivals = Arrivals()
        self._reached: set[int] = set()

    def reach(self, parameters: Iterable[Tensor]) -> None:
        """Note that a backward graph leads to the parameters."""
        self._reached.update(id(p) for p in parameters)

    def note(
        self,
        names: Names,
        parameters: Sequence[Tensor],
        norms: Sequence[Measured | None],
        seen: Mapping[int, SeenGradient],
    ) -> None:
        """Take one sample.

        Args:
            names: of the whole model's parameters.
            parameters: those that the optimizer holds.
            norms: |gradient| of each of them, None where it has none.
            seen: the gradients that a backward pass left, those of other parameters among them.
        """
        self._arrivals.note(parameters, norms)
        # a gradient reaches what the tape cannot open too (a reentrant checkpoint), or what
        # another backward pass than the one read has reached
        self.reach(p for p, norm in zip(parameters, norms, strict=True) if not is_zero(norm))
        own = {id(p) for p in parameters}
        others = [
            p
            for identity, reference in self._known(names)
            if identity not in own and (p := reference()) is not None and p.requires_grad
        ]
        if others:
            left = [seen[id(p)].norm if id(p) in seen else None for p in others]
            self._arrivals.note(others, left)

    def describe(self, optimizer: AnyOptimizer, names: Names) -> None:
        """Describe the parameters as they are now."""
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._described = {}
        for identity, reference in self._known(names):
            parameter = reference()
            if parameter is None:
                continue
            path, *aliases = names.parameters[identity]
            self._described[identity] = ParameterRecord(
                path=path,
                aliases=tuple(aliases),
                shape=tuple(parameter.shape),
                trainable=parameter.requires_grad,
                optimized=identity in held,
                reached=False,
                registered=identity not in names.unregistered,
            )

    def _known(self, names: Names) -> Iterable[tuple[int, weakref.ref[Tensor]]]:
        """Return the model's parameters, and the unregistered ones that the loss depends on."""
        outside = (each for each in names.unregistered.items() if each[0] in self._reached)
        return chain(names.tensors.items(), outside)

    def records(self, opened: Collection[str]) -> tuple[ParameterRecord, ...]:
        """Return the descriptions with what came so far.

        Args:
            opened: names of the parameters whose op was read.
        """
        counts = self._arrivals.counts()
        found = []
        for identity, record in self._described.items():
            count = counts.get(identity, Arrival())
            found.append(
                replace(
                    record,
                    reached=identity in self._reached,
                    arrived=count.arrived,
                    zero=count.zero,
                    missing=count.missing,
                    opened=record.path in opened,
                )
            )
        return tuple(found)

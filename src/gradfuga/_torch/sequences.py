"""Gather a few sequences of the task with their time axis, for the bound of a short memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from .examples import FAMILIES, Array, Family
from .loss import LossTerm
from .spies import RootCall
from .tape import TapeRecord

_MOST_SEQUENCES = 512
_PER_SAMPLE = 64
_MOST_STEPS = 1024  # of a sequence, the last ones
_MOST_VALUES = 8_000_000
_FEWEST_STEPS = 6
_ROWS_OF_TEXT = 1024  # (sequence, step) pairs where every step has a target


@final
@dataclass
class SequenceBook:
    """At most 512 (sequence, target) pairs of one training, in memory only, never written."""

    _inputs: list[Tensor] = field(default_factory=list)  # [n, T] or [n, T, D]
    _targets: list[Tensor] = field(default_factory=list)  # [n], [n, K], or [n, T] labels
    _family: str = ""
    _samples: int = 0

    def add(self, record: TapeRecord) -> None:
        """Take some sequences of a sampled batch, where a recurrence was probed."""
        steps = {int(curve.statistics.get("time_steps", 0)) for curve in record.curves}
        held = sum(x.numel() for x in self._inputs)
        full = sum(len(x) for x in self._inputs) >= _MOST_SEQUENCES or held > _MOST_VALUES
        if not steps or full or len(record.terms) != 1:
            return
        term = next(iter(record.terms.values()))
        found = _sequences(record.calls, term, steps)
        if found is None or (self._family and self._family != term.family):
            return
        inputs, target = found
        if self._inputs and self._inputs[0].shape[1:] != inputs.shape[1:]:
            return
        self._family = term.family
        rows = torch.arange(min(len(inputs), _PER_SAMPLE), device=inputs.device)
        rows = (rows + self._samples * _PER_SAMPLE) % len(inputs)
        self._samples += 1
        kept = torch.float32 if inputs.is_floating_point() else torch.int64
        self._inputs.append(inputs[rows][:, -_MOST_STEPS:].to(kept, copy=True))
        self._targets.append(target[rows.to(target.device)].clone())

    @property
    def per_step(self) -> bool:
        """Whether every step of a sequence has a target."""
        labeled = self._family == "classes" and bool(self._targets)
        return labeled and self._targets[0].dim() > 1 and not self._targets[0].is_floating_point()

    def examples(self, horizon: int) -> tuple[Array, Array, Family] | None:
        """Return sequences that end at the step of their target, targets, and the family.

        Where every step has a target, some (sequence, step) pairs whose past is longer than
        `horizon` are drawn, each with the same length of past.
        """
        if not self._inputs:
            return None
        inputs = torch.cat(self._inputs).cpu().numpy()
        targets = torch.cat(self._targets).cpu().numpy()
        family = FAMILIES[self._family]
        if self.per_step:
            return _cut_out(inputs, targets, horizon), _labels(targets, horizon), family
        return inputs, targets, family


def _sequences(
    calls: tuple[RootCall, ...], term: LossTerm, steps: set[int]
) -> tuple[Tensor, Tensor] | None:
    """Return inputs `[B, T, ...]` and the targets that belong to them."""
    target = term.target
    if term.family not in FAMILIES or target.dim() == 0 or target.numel() == 0:
        return None
    soft = term.family == "classes" and target.is_floating_point()
    for call in calls:
        for given in call.inputs:
            if given.dim() < 2 or (given.dim() < 3 and given.is_floating_point()):  # noqa: PLR2004
                given = given.unsqueeze(-1) if given.dim() == 2 else given  # noqa: PLR2004, PLW2901
            if given.dim() < 2:  # noqa: PLR2004
                continue
            for axis in (1, 0):
                length, batch = given.shape[axis], given.shape[1 - axis]
                if length not in steps or length < _FEWEST_STEPS:
                    continue
                first = given if axis == 1 else given.transpose(0, 1)
                if len(target) == batch and (target.dim() == 1 or soft or _columns(term, target)):
                    return first, target
                if term.family == "classes" and not soft and target.numel() == batch * length:
                    laid = target.reshape(batch, length) if axis == 1 else None
                    laid = target.reshape(length, batch).T if laid is None else laid
                    return first, laid
    return None


def _columns(term: LossTerm, target: Tensor) -> bool:
    """Whether the target is a few numbers for each example."""
    return term.family != "classes" and target.dim() == 2 and target.shape[1] <= _FEWEST_STEPS  # noqa: PLR2004


def _ends(shape: tuple[int, ...], horizon: int) -> tuple[Array, Array]:
    """Return sequence and step of some targets, the same ones whenever it is asked."""
    count, length = shape[:2]
    first = min(length - 1, max(2 * horizon, length // 2))  # a past twice the horizon
    generator = np.random.default_rng(0)
    rows = generator.integers(0, count, _ROWS_OF_TEXT)
    steps = generator.integers(first, length, _ROWS_OF_TEXT)
    pairs = np.unique(np.stack([rows, steps]), axis=1)
    return pairs[0], pairs[1]


def _cut_out(inputs: Array, targets: Array, horizon: int) -> Array:
    rows, steps = _ends(targets.shape, horizon)
    past = int(steps.min())
    back = np.arange(-past, 1)
    return np.asarray(inputs[rows[:, None], steps[:, None] + back])


def _labels(targets: Array, horizon: int) -> Array:
    rows, steps = _ends(targets.shape, horizon)
    return np.asarray(targets[rows, steps])

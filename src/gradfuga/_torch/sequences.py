"""Gather a few sequences of the task with their time axis, for the bound of a short memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from ..analysis.memory_pairs import MemoryPairs, SequenceBatch, draw_pairs
from .examples import FAMILIES
from .joined_terms import joined_term
from .loss import LossTerm
from .pieces import past_of
from .spies import RootCall
from .step_targets import LaidTargets, lay_out
from .tape import TapeRecord

_MOST_SEQUENCES = 512
_PER_SAMPLE = 64
_MOST_STEPS = 1024  # of a sequence, the last ones
_MOST_VALUES = 8_000_000
_FEWEST_STEPS = 6


@dataclass(frozen=True, slots=True)
class _Sequences:
    """Sequences of one batch, `[n, T]` or `[n, T, ...]`, with their targets."""

    inputs: Tensor
    laid: LaidTargets
    step: int = 0


@final
@dataclass
class SequenceBook:
    """The last sequences of one training, at most 512, in memory only, never written."""

    _held: deque[_Sequences] = field(default_factory=deque)
    _family: str = ""
    _samples: int = 0

    def add(self, step: int, record: TapeRecord) -> None:
        """Take some sequences of a sampled batch, where a recurrence was probed."""
        term = joined_term(record.terms, record.walk) if record.curves and record.terms else None
        if term is None or term.family not in FAMILIES or self._family not in ("", term.family):
            return
        found = _sequences(record, term)
        if found is None or (self._held and not _alike(self._held[-1], found)):
            return
        self._family = term.family
        count = len(found.inputs)
        rows = torch.arange(min(count, _PER_SAMPLE)) + self._samples * _PER_SAMPLE
        self._samples += 1
        self._held.append(replace(_some(found, rows % count), step=step))
        while len(self._held) > 1 and self._is_full():
            self._held.popleft()

    def _is_full(self) -> bool:
        count = sum(len(each.inputs) for each in self._held)
        values = sum(each.inputs.numel() for each in self._held)
        return count > _MOST_SEQUENCES or values > _MOST_VALUES

    @property
    def per_step(self) -> bool:
        """Whether steps of a sequence have targets of their own."""
        return bool(self._held) and self._held[-1].laid.per_step

    def pairs(self, horizon: int, *, since: int) -> MemoryPairs | None:
        """Return sequences that end at the step of their target, and what the network loses there.

        Args:
            horizon: only targets with a longer past are of use.
            since: step from which the network's losses count; the last batch's always do.
        """
        if not self._held:
            return None
        batches = []
        for each in self._held:
            losses = each.laid.losses
            counts = each.step >= since or each is self._held[-1]
            batches.append(
                SequenceBatch(
                    inputs=each.inputs.cpu().numpy(),
                    targets=each.laid.targets.cpu().numpy(),
                    losses=losses.cpu().numpy() if losses is not None and counts else None,
                )
            )
        return draw_pairs(
            batches, family=FAMILIES[self._family], horizon=horizon, per_step=self.per_step
        )


def _some(found: _Sequences, rows: Tensor) -> _Sequences:
    """Return copies of some sequences, the end of very long ones."""
    kept = torch.float32 if found.inputs.is_floating_point() else torch.int64
    laid, there = found.laid, rows.to(found.laid.targets.device)
    losses = None if laid.losses is None else laid.losses[there].clone()
    inputs = found.inputs[rows.to(found.inputs.device)][:, -_MOST_STEPS:].to(kept, copy=True)
    return _Sequences(inputs, LaidTargets(laid.targets[there].clone(), losses, laid.per_step))


def _alike(one: _Sequences, other: _Sequences) -> bool:
    """Whether two batches can be looked at together; where steps have targets, of any length."""
    per_step = one.laid.per_step
    first = 2 if per_step else 1
    return (
        per_step == other.laid.per_step
        and one.inputs.is_floating_point() == other.inputs.is_floating_point()
        and one.inputs.shape[first:] == other.inputs.shape[first:]
        and one.laid.targets.shape[first:] == other.laid.targets.shape[first:]
    )


def _sequences(record: TapeRecord, term: LossTerm) -> _Sequences | None:
    """Return inputs `[B, T, ...]` and the targets that belong to them."""
    if term.target.dim() == 0 or term.target.numel() == 0:
        return None
    steps = {int(curve.statistics.get("time_steps", 0)) for curve in record.curves}
    # of a state that goes on without its gradient, what the network was fed before counts too
    carried = any("time_cut" in curve.statistics for curve in record.curves)
    for call in record.calls:
        for given, base in _fed(call):
            found = _of_call(given, base if carried else None, term, steps, len(record.terms) > 1)
            if found is not None:
                return found
    return None


def _fed(call: RootCall) -> list[tuple[Tensor, Tensor | None]]:
    bases = call.bases or (None,) * len(call.inputs)
    return list(zip(call.inputs, bases, strict=True))


def _of_call(
    given: Tensor, base: Tensor | None, term: LossTerm, steps: set[int], joined: bool
) -> _Sequences | None:
    """Return the sequences that one input of a call holds, or is a piece of."""
    for axis in (1, 0):
        if given.dim() < 2 or given.shape[axis] not in steps or given.shape[axis] < _FEWEST_STEPS:  # noqa: PLR2004
            continue
        length, batch = given.shape[axis], given.shape[1 - axis]
        laid = lay_out(term, batch=batch, length=length, axis=axis, joined=joined)
        if laid is None:
            continue
        inputs = given if axis == 1 else given.transpose(0, 1)
        past = past_of(given, base, axis=axis) if base is not None and laid.per_step else None
        return _Sequences(_as_columns(inputs if past is None else past), laid)
    past = past_of(given, base, axis=None) if base is not None else None  # fed step by step
    if past is None or past.shape[1] < _FEWEST_STEPS:
        return None
    laid = lay_out(term, batch=len(past), length=past.shape[1], axis=1, joined=joined)
    return _Sequences(_as_columns(past), laid) if laid is not None and laid.per_step else None


def _as_columns(inputs: Tensor) -> Tensor:
    """Return numbers as `[B, T, D]`, tokens as `[B, T]`."""
    lone = inputs.dim() == 2 and inputs.is_floating_point()  # noqa: PLR2004
    return inputs.unsqueeze(-1) if lone else inputs

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
from .translated import encoder_steps, translated

_MOST_SEQUENCES = 512
_PER_SAMPLE = 64
_MOST_STEPS = 1024  # of a sequence, the last ones
_MOST_VALUES = 8_000_000
_FEWEST_STEPS = 6


@dataclass(frozen=True, slots=True, eq=False)
class _Sequences:
    """Sequences of one batch, `[n, T]` or `[n, T, ...]`, with their targets.

    Attributes:
        inputs: of every step.
        laid: the targets.
        step: of the training.
        past: whether they hold what the network was fed at training steps before, too.
    """

    inputs: Tensor
    laid: LaidTargets
    step: int = 0
    past: bool = False

    @property
    def place(self) -> int:
        """Of a piece with one target for the whole sequence, the step it ends with; 0 of others."""
        one = self.past and self.laid.per_step and self.laid.targets.shape[1] == 1
        return self.inputs.shape[1] if one else 0


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
        if found is None:
            return
        if self._held and found.past and not self._held[-1].past:
            self._held.clear()  # the state was first seen to go on from step to step
        if self._held and not _alike(self._held[-1], found):
            return
        self._family = term.family
        count = len(found.inputs)
        rows = torch.arange(min(count, _PER_SAMPLE)) + self._samples * _PER_SAMPLE
        self._samples += 1
        self._held.append(replace(_some(found, rows % count), step=step))
        same = [each for each in self._held if each.place == found.place]
        if sum(len(each.inputs) for each in same) > _MOST_SEQUENCES and len(same) > 1:
            self._held.remove(same[0])
        while len(self._held) > 1 and sum(e.inputs.numel() for e in self._held) > _MOST_VALUES:
            self._held.popleft()

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
        batches, held = [], self._of_one_place(horizon)
        for each in held:
            losses = each.laid.losses
            counts = each.step >= since or each is held[-1]
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

    def _of_one_place(self, horizon: int) -> list[_Sequences]:
        """Return the sequences that end with the piece which most is known of.

        Where a sequence has one target, and is fed in pieces, a step lies farther back from a
        later piece: together they would hide which step the target is about.
        """
        rows: dict[int, int] = {}
        for each in self._held:
            if each.place == 0 or each.place > horizon:
                rows[each.place] = rows.get(each.place, 0) + len(each.inputs)
        chosen = max(rows, key=lambda place: rows[place], default=None)
        return [each for each in self._held if chosen is None or each.place == chosen]


def _some(found: _Sequences, rows: Tensor) -> _Sequences:
    """Return copies of some sequences, the end of very long ones."""
    kept = torch.float32 if found.inputs.is_floating_point() else torch.int64
    laid, there = found.laid, rows.to(found.laid.targets.device)
    losses = None if laid.losses is None else laid.losses[there].clone()
    inputs = found.inputs[rows.to(found.inputs.device)][:, -_MOST_STEPS:].to(kept, copy=True)
    kept_targets = LaidTargets(laid.targets[there].clone(), losses, laid.per_step)
    return replace(found, inputs=inputs, laid=kept_targets)


def _alike(one: _Sequences, other: _Sequences) -> bool:
    """Whether two batches can be looked at together; where steps have targets, of any length."""
    per_step = one.laid.per_step
    first = 2 if per_step else 1
    return (
        per_step == other.laid.per_step
        and one.past == other.past
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
    joined = len(record.terms) > 1
    read = encoder_steps(record.curves)
    for call in record.calls:
        for given, base in _fed(call):
            if read:
                laid = translated(given, term, read, joined=joined)
                found = None if laid is None else _Sequences(*laid)
            else:
                found = _of_call(given, base, term, steps, carried=carried, joined=joined)
            if found is not None and found.inputs.shape[1] >= _FEWEST_STEPS:
                return found
    return None


def _fed(call: RootCall) -> list[tuple[Tensor, Tensor | None]]:
    bases = call.bases or (None,) * len(call.inputs)
    return list(zip(call.inputs, bases, strict=True))


def _of_call(
    given: Tensor,
    base: Tensor | None,
    term: LossTerm,
    steps: set[int],
    *,
    carried: bool,
    joined: bool,
) -> _Sequences | None:
    """Return the sequences that one input of a call holds, or is a piece of."""
    for axis in (1, 0):
        if given.dim() < 2 or given.shape[axis] not in steps:  # noqa: PLR2004
            continue
        length, batch = given.shape[axis], given.shape[1 - axis]
        laid = lay_out(term, batch=batch, length=length, axis=axis, joined=joined)
        if laid is None:
            continue
        past = past_of(given, base, axis=axis) if carried and base is not None else None
        if past is not None:
            return _Sequences(_as_columns(past), laid.at_steps(), past=True)
        return _Sequences(_as_columns(given if axis == 1 else given.transpose(0, 1)), laid)
    past = past_of(given, base, axis=None) if base is not None else None  # fed step by step
    if past is None:
        return None
    if not carried:
        past = past[:, -max(steps, default=0) :]
    laid = lay_out(term, batch=len(past), length=past.shape[1], axis=1, joined=joined)
    if laid is None:
        return None
    return _Sequences(_as_columns(past), laid.at_steps() if carried else laid, past=carried)


def _as_columns(inputs: Tensor) -> Tensor:
    """Return numbers as `[B, T, D]`, tokens as `[B, T]`."""
    lone = inputs.dim() == 2 and inputs.is_floating_point()  # noqa: PLR2004
    return inputs.unsqueeze(-1) if lone else inputs

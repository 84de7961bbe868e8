"""Draw (sequence up to a step, target at that step) pairs from the sequences of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .reference import Family

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Integers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

_MOST_PAIRS = 512
_MOST_LATE = 384  # of those that show what the network has learned
_MOST_A_SEQUENCE = 8
_MOST_PAST = 512
_ENOUGH_ROWS = 16  # that a mean loss at one step is taken over


@dataclass(frozen=True, slots=True)
class SequenceBatch:
    """Sequences of one batch.

    Attributes:
        inputs: `[n, T]` tokens or `[n, T, ...]` numbers.
        targets: of each sequence, `[n]` or `[n, K]`, or of its last T' steps, `[n, T', ...]`.
        losses: the network's late in the run, shaped like `targets`; None where not known.
    """

    inputs: Numbers
    targets: Numbers
    losses: Numbers | None


@dataclass(frozen=True, slots=True)
class MemoryPairs:
    """Pairs of a past and the target at its end.

    Attributes:
        inputs: `[N, P]` or `[N, P, ...]`, the step of the target last. What lies before the start
            of a sequence is the token -1, or the mean of the numbers.
        targets: `[N]` labels or `[N, K]` numbers.
        family: of the loss.
        losses: the network's, `[N]`; NaN where not known.
        sequence: that each pair is from, `[N]`.
        position: of the target's step among those that have one, `[N]`.
    """

    inputs: Numbers
    targets: Numbers
    family: Family
    losses: Floats
    sequence: Integers
    position: Integers


def draw_pairs(
    batches: Sequence[SequenceBatch], *, family: Family, horizon: int, per_step: bool
) -> MemoryPairs | None:
    """Return at most 512 pairs, the same ones whenever it is asked.

    Where steps have targets, those whose past is longer than `horizon` are drawn, and the ones at
    which the network loses more the more often: in a task that asks for its memory at ten steps
    of a thousand, they are what it is about. The weights are means over sequences, so that a
    single target is not drawn because the network happened to miss it.

    Args:
        batches: in the order of the training.
        family: of the loss.
        horizon: H, in steps.
        per_step: whether steps have targets of their own.
    """
    if not per_step:
        inputs = np.concatenate([each.inputs for each in batches])
        count = np.arange(len(inputs))
        nowhere = np.zeros_like(count)
        targets = np.concatenate([each.targets for each in batches])
        return MemoryPairs(inputs, targets, family, np.full(len(count), np.nan), count, nowhere)
    generator = np.random.default_rng(0)
    late = [each for each in batches if each.losses is not None]
    early = [each for each in batches if each.losses is None]
    weights = _weights(late)
    drawn = _draw(late, horizon, weights, generator, most=_MOST_LATE)
    drawn += _draw(early, horizon, weights, generator, most=_MOST_PAIRS - len(drawn))
    if not drawn:
        return None
    past = min(_MOST_PAST, max(each.end for each in drawn) + 1)
    sequences = {key: number for number, key in enumerate(dict.fromkeys(d.key for d in drawn))}
    targets = np.stack([d.batch.targets[d.row, d.place] for d in drawn])
    return MemoryPairs(
        inputs=np.stack([_past(d, past) for d in drawn]),
        targets=targets,
        family=family,
        losses=np.array([d.loss for d in drawn]),
        sequence=np.array([sequences[d.key] for d in drawn], dtype=np.int64),
        position=np.array([d.place for d in drawn], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One target: its batch, row and place among the targets, and the step of its input."""

    batch: SequenceBatch
    row: int
    place: int
    end: int

    @property
    def key(self) -> tuple[int, int]:
        """Tell the sequence that it is from."""
        return id(self.batch), self.row

    @property
    def loss(self) -> float:
        """The network's, summed over what one step has to tell."""
        losses = self.batch.losses
        return float("nan") if losses is None else float(np.sum(losses[self.row, self.place]))


def _weights(late: Sequence[SequenceBatch]) -> Floats | None:
    """Return the network's mean loss at each target's place, `[T']`; None where unknown."""
    losses = [each.losses for each in late if each.losses is not None]
    alike = {each.shape[1] for each in losses}
    if len(alike) != 1 or sum(len(each) for each in losses) < _ENOUGH_ROWS:
        return None
    stacked = np.concatenate([each.reshape(*each.shape[:2], -1).sum(axis=2) for each in losses])
    stacked = np.where(np.isfinite(stacked), stacked, 0.0)
    means = np.asarray(stacked.mean(axis=0), dtype=np.float64)
    return means + 1e-3 * max(float(means.mean()), 1e-30)


def _draw(
    batches: Sequence[SequenceBatch],
    horizon: int,
    weights: Floats | None,
    generator: np.random.Generator,
    *,
    most: int,
) -> list[_Drawn]:
    rows = sum(len(each.inputs) for each in batches)
    if rows == 0 or most <= 0:
        return []
    a_row = min(_MOST_A_SEQUENCE, -(-most // rows))
    found = []
    for batch in batches:
        length, own = batch.inputs.shape[1], batch.targets.shape[1]
        ends = np.arange(length - own, length)
        least = min(length - 1, max(horizon, length // 2))
        places = np.flatnonzero((ends >= least) & (ends >= horizon))
        if places.size == 0:
            continue
        chance = np.ones(own) if weights is None or len(weights) != own else weights
        chance = chance[places] / chance[places].sum()
        for row in range(len(batch.inputs)):
            count = min(a_row, places.size)
            chosen = generator.choice(places, count, replace=False, p=chance)
            found += [
                _Drawn(batch, row, place, int(ends[place]))
                for place in np.sort(chosen).tolist()
                if _is_target(batch, row, place)
            ]
    kept = np.sort(generator.permutation(len(found))[:most])
    return [found[place] for place in kept.tolist()]


def _is_target(batch: SequenceBatch, row: int, place: int) -> bool:
    """Whether there is something to predict: no label that the loss ignores."""
    target = batch.targets[row, place]
    ignored = np.issubdtype(target.dtype, np.integer) and bool(np.any(target < 0))
    lost = batch.losses is None or bool(np.isfinite(batch.losses[row, place]).all())
    return lost and not ignored


def _past(drawn: _Drawn, length: int) -> Numbers:
    """Return the last `length` steps up to the target's, filled up at the front."""
    sequence = drawn.batch.inputs[drawn.row, : drawn.end + 1][-length:]
    missing = length - len(sequence)
    if missing == 0:
        return sequence
    whole = drawn.batch.inputs
    tokens = whole.ndim == 2 and np.issubdtype(whole.dtype, np.integer)  # noqa: PLR2004
    fill = np.full_like(whole[0, :1], -1) if tokens else whole.mean(axis=(0, 1))[None]
    return np.concatenate([np.repeat(fill, missing, axis=0), sequence]).astype(whole.dtype)

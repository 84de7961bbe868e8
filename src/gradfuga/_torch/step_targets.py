"""Lay the targets of a loss out beside the sequences that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .loss import LossTerm

_FEW_COLUMNS = 6  # numbers that a sequence may have as its target


@dataclass(frozen=True, slots=True)
class LaidTargets:
    """Targets with the batch first.

    Attributes:
        targets: of whole sequences `[B]`, `[B, K]`; of their last T' steps `[B, T']`, `[B, T', K]`.
        losses: the network's, shaped like `targets`, or `[B]`; None where not known.
        per_step: whether they are those of single steps.
    """

    targets: Tensor
    losses: Tensor | None
    per_step: bool

    def at_steps(self) -> LaidTargets:
        """Return them as those of single steps: the target of a sequence is that of its end."""
        if self.per_step:
            return self
        losses = None if self.losses is None else self.losses[:, None]
        return LaidTargets(self.targets[:, None], losses, per_step=True)


def lay_out(
    term: LossTerm, *, batch: int, length: int, axis: int, joined: bool
) -> LaidTargets | None:
    """Return the targets of `batch` sequences of `length` steps, None where they are others.

    Args:
        term: a loss.
        batch: number of sequences.
        length: of each.
        axis: which dimension of the input is time: a flattened target is laid out alike.
        joined: whether the term's target was put together from those of single steps.
    """
    target = term.target
    soft = term.family == "classes" and target.is_floating_point()
    if len(target) == batch and (target.dim() == 1 or soft or _few(term, length)):
        return LaidTargets(target, _one_each(term, batch), per_step=False)
    if soft:
        return None
    if term.family == "classes":
        return _labels(term, batch=batch, length=length, axis=axis)
    return _numbers(term, batch=batch, length=length, axis=axis, joined=joined)


def _one_each(term: LossTerm, batch: int) -> Tensor | None:
    """Return one loss a sequence, None where that is not known."""
    losses = term.losses
    return losses if losses is not None and losses.shape == (batch,) else None


def _few(term: LossTerm, length: int) -> bool:
    """Whether the target is a few numbers for each sequence."""
    target = term.target
    columns = target.shape[1] if target.dim() == 2 else 0  # noqa: PLR2004
    return term.family != "classes" and 0 < columns <= _FEW_COLUMNS and columns != length


def _labels(term: LossTerm, *, batch: int, length: int, axis: int) -> LaidTargets | None:
    target = term.target
    own, rest = divmod(target.numel(), batch)
    if rest or not 1 < own <= length:
        return None
    if target.dim() == 1:
        turned = axis == 0
    elif len(target) == batch:
        turned = False
    elif target.shape[1] == batch:
        turned = True
    else:
        return None
    return _turned(term, (own, batch) if turned else (batch, own), turned=turned)


def _numbers(
    term: LossTerm, *, batch: int, length: int, axis: int, joined: bool
) -> LaidTargets | None:
    target = term.target
    if target.dim() < 2:  # noqa: PLR2004
        return None
    time_first = axis == 0 and not joined and target.shape[1] == batch
    turned = len(target) != batch or time_first
    sides = target.shape[:2]
    own = sides[0] if turned else sides[1]
    if sides[1 if turned else 0] != batch or not 1 < own <= length:
        return None
    if target.dim() == 2 and own != length and not joined:  # noqa: PLR2004
        return None  # more likely several numbers at once than one at each of the last steps
    return _turned(term, (*sides, target[0, 0].numel()), turned=turned)


def _turned(term: LossTerm, shape: tuple[int, ...], *, turned: bool) -> LaidTargets:
    def laid(value: Tensor) -> Tensor:
        value = value.reshape(shape)
        return value.transpose(0, 1) if turned else value

    losses = term.losses
    known = losses is not None and losses.numel() == term.target.numel()
    return LaidTargets(
        laid(term.target), laid(losses) if known and losses is not None else None, per_step=True
    )

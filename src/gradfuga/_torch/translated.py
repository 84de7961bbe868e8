"""Lay an encoder's source and what its decoder writes out as one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .lags import LagCurve
from .loss import LossTerm
from .step_targets import LaidTargets, lay_out


def encoder_steps(curves: Sequence[LagCurve]) -> frozenset[int]:
    """Return the lengths of what encoders read; nothing where no recurrence follows another.

    Args:
        curves: of the recurrences.
    """
    followed = {"time_continued" in curve.statistics for curve in curves}
    if len(followed) != 2:  # noqa: PLR2004 (both an encoder and a decoder)
        return frozenset()
    return frozenset(
        int(curve.statistics.get("time_steps", 0))
        for curve in curves
        if "time_continued" not in curve.statistics
    )


def translated(
    given: Tensor, term: LossTerm, read: frozenset[int], *, joined: bool
) -> tuple[Tensor, LaidTargets] | None:
    """Return `given`, followed by the steps of the decoder, and the decoder's targets.

    A step of the decoder is told what was to be written the step before, where that is a label:
    a network may know it, and what follows from it alone needs no memory.

    Args:
        given: what went into a module.
        term: the loss.
        read: lengths of what encoders read.
        joined: whether the term's target was put together from those of single steps.

    Returns:
        Inputs `[B, T + T', ...]` and targets `[B, T', ...]`; None where `given` is no source.
    """
    for axis in (1, 0):
        if given.dim() < 2 or given.shape[axis] not in read:  # noqa: PLR2004
            continue
        batch = given.shape[1 - axis]
        longest = max(given.shape[axis], term.target.numel() // max(batch, 1))
        laid = lay_out(term, batch=batch, length=longest, axis=axis, joined=joined)
        if laid is None:
            continue
        source = given if axis == 1 else given.transpose(0, 1)
        if source.dim() == 2 and source.is_floating_point():  # noqa: PLR2004
            source = source.unsqueeze(-1)
        return torch.cat([source, _written(source, laid.at_steps())], dim=1), laid.at_steps()
    return None


def _written(source: Tensor, laid: LaidTargets) -> Tensor:
    """Return what stands for the decoder's inputs: the labels before, or nothing that varies."""
    targets = laid.targets
    tokens = source.dim() == 2 and targets.dim() == 2  # noqa: PLR2004
    if not tokens or targets.is_floating_point():
        middle = source.to(torch.float32).mean(dim=(0, 1)).to(source.dtype)
        return middle.expand(len(source), targets.shape[1], *source.shape[2:])
    before = torch.full_like(targets, -1)
    before[:, 1:] = targets[:, :-1]
    first = int(source.max()) + 1  # the two vocabularies are not the same
    return torch.where(before >= 0, before + first, before).to(source)

"""Join the losses of a loop over time: one loss whose target is one at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from .loss import LossTerm
from .walk import Walk

_FEWEST = 6  # terms, as many as make a recurrence (see `chains`)


def joined_term(terms: Mapping[int, LossTerm], walk: Walk) -> LossTerm | None:
    """Return the one term of a step, or those of a loop over time as one.

    Args:
        terms: by the place of their op in `walk`.
        walk: the backward graph.

    Returns:
        A term whose target is `[B, T, ...]` where it is joined. None where the terms are of
        different kinds or too few.
    """
    if len(terms) == 1:
        return next(iter(terms.values()))
    numbers = {place: walk.nodes[place]._sequence_nr() for place in terms}  # noqa: SLF001
    ordered = [terms[place] for place in sorted(terms, key=lambda place: numbers[place])]
    alike = {(term.family, term.target.shape, term.moments.shape) for term in ordered}
    if len(ordered) < _FEWEST or len(alike) != 1 or ordered[0].target.dim() == 0:
        return None
    losses = [term.losses for term in ordered if term.losses is not None]
    return replace(
        ordered[0],
        value=_sum([torch.as_tensor(term.value) for term in ordered]),
        weight=_sum([torch.as_tensor(term.weight) for term in ordered]),
        moments=_sum([torch.as_tensor(term.moments) for term in ordered]),
        least=_sum([torch.as_tensor(term.least) for term in ordered]),
        target=torch.stack([term.target for term in ordered], dim=1),
        losses=torch.stack(losses, dim=1) if len(losses) == len(ordered) else None,
    )


def _sum(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum(dim=0)

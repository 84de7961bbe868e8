"""Gather a few examples of the task from sampled batches, for the reference learner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from .loss import LossTerm
from .spies import RootCall

_MOST_EXAMPLES = 1024
_PER_SAMPLE = 128
_MOST_FEATURES = 4096


@final
@dataclass
class ExampleBook:
    """At most 1,024 (input, target) pairs of one training, in memory only, never written."""

    _inputs: list[Tensor] = field(default_factory=list)
    _targets: list[Tensor] = field(default_factory=list)
    _family: str = ""
    _samples: int = 0

    def add(self, calls: Sequence[RootCall], term: LossTerm) -> None:
        """Take some rows of a sampled batch: other rows at every sample."""
        if sum(len(t) for t in self._targets) >= _MOST_EXAMPLES:
            return
        target = term.target
        if target.dim() == 0 or term.family == "robust":
            return
        given = next(
            (x for call in calls for x in call.inputs if x.dim() > 0 and len(x) == len(target)),
            None,
        )
        if given is None or (self._family and self._family != term.family):
            return
        if target.numel() > len(target) * 64 or (term.family == "classes" and target.dim() > 1):
            return  # an image or a text for each example: no cheap reference
        self._family = term.family
        rows = torch.arange(min(len(target), _PER_SAMPLE), device=target.device)
        rows = (rows + self._samples * _PER_SAMPLE) % len(target)
        self._samples += 1
        features = given[rows.to(given.device)].reshape(len(rows), -1)
        if features.shape[1] > _MOST_FEATURES:
            features = features[:, :: -(-features.shape[1] // _MOST_FEATURES)]
        self._inputs.append(features.to(torch.float32, copy=True))
        self._targets.append(target[rows].reshape(len(rows), -1).clone())

    def pairs(self) -> tuple[np.ndarray, np.ndarray, str] | None:  # type: ignore[type-arg]
        """Return inputs `[N, D]`, targets `[N]` or `[N, K]` and the family, each example once."""
        if not self._inputs or len({x.shape[1] for x in self._inputs}) > 1:
            return None
        inputs = torch.cat(self._inputs).cpu().numpy().astype(np.float64)
        targets = torch.cat(self._targets).cpu().numpy()
        _, first = np.unique(inputs, axis=0, return_index=True)
        keep = np.sort(first)[:_MOST_EXAMPLES]
        inputs, targets = inputs[keep], targets[keep]
        family = {"classes": "classification", "binary": "binary"}.get(self._family, "regression")
        if family == "classification":
            targets = targets.reshape(-1).astype(np.int64) if targets.shape[1] == 1 else targets
        return inputs, targets, family

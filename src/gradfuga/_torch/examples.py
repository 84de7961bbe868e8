"""Gather a few examples of the task from sampled batches, for the reference learner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from .loss import LossTerm

_MOST_EXAMPLES = 1024
_PER_SAMPLE = 128
_MOST_FEATURES = 4096
_MOST_COLUMNS = 64
_LIKE_INPUT = 0.5  # of the target's variance: noise of its own size leaves 1, a copy 0

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.int64]]
Family = Literal["classification", "regression", "binary", "language"]
FAMILIES: dict[str, Family] = {
    "classes": "classification",
    "binary": "binary",
    "squares": "regression",
    "language": "language",
}


@final
@dataclass
class ExampleBook:
    """At most 1,024 (input, target) pairs of one training, in memory only, never written."""

    _inputs: list[Tensor] = field(default_factory=list)
    _targets: list[Tensor] = field(default_factory=list)
    _family: str = ""
    _samples: int = 0

    def add(self, given: Sequence[Tensor], term: LossTerm) -> None:
        """Take some rows of a sampled batch: other rows at every sample.

        Args:
            given: what went into the model.
            term: the loss, with its targets.
        """
        if sum(len(t) for t in self._targets) >= _MOST_EXAMPLES or term.target.dim() == 0:
            return
        given = [x for x in given if x.dim() > 0 and x.layout is torch.strided]
        target, family = term.target, term.family
        text = next((x for x in given if _is_text(x, target)), None)
        if family == "classes" and text is not None:
            given, target, family = [text], target.reshape(text.shape), "language"
        inputs = next((x for x in given if len(x) == len(target)), None)
        if inputs is None or family not in FAMILIES:
            return
        if self._family and self._family != family:
            return
        if family == "classes" and (target.dim() > 1 or target.is_floating_point()):
            return  # an image of labels for each example: no cheap reference
        if family != "language" and target.numel() > len(target) * _MOST_COLUMNS:
            return
        if _copies(inputs, target):
            return  # an autoencoder's task is trivial for a model without its bottleneck
        self._family = family
        rows = torch.arange(min(len(target), _PER_SAMPLE), device=target.device)
        rows = (rows + self._samples * _PER_SAMPLE) % len(target)
        self._samples += 1
        features = inputs[rows.to(inputs.device)].reshape(len(rows), -1)
        if features.shape[1] > _MOST_FEATURES:
            features = features[:, :: -(-features.shape[1] // _MOST_FEATURES)]
        kept = torch.float32 if features.is_floating_point() else torch.int64
        self._inputs.append(features.to(kept, copy=True))
        self._targets.append(target[rows].reshape(len(rows), -1).clone())

    def pairs(self) -> tuple[Array, Array, Family] | None:
        """Return inputs `[N, D]`, targets `[N]` or `[N, K]`, and the family of the task."""
        shapes = {(x.shape[1], x.dtype) for x in self._inputs}
        if len(shapes) != 1 or len({t.shape[1] for t in self._targets}) != 1:
            return None
        inputs = torch.cat(self._inputs).cpu().numpy()[:_MOST_EXAMPLES]
        targets = torch.cat(self._targets).cpu().numpy()[:_MOST_EXAMPLES]
        family = FAMILIES[self._family]
        return inputs, targets.reshape(-1) if family == "classification" else targets, family


def _copies(inputs: Tensor, target: Tensor) -> bool:
    """Whether the target is the input again, or the input with noise taken off."""
    if inputs.numel() != target.numel() or not inputs.is_floating_point():
        return False
    given, wanted = inputs.reshape(-1).double(), target.reshape(-1).double()
    spread = wanted.var(unbiased=False)
    return bool((given - wanted).square().mean() < _LIKE_INPUT * spread)


def _is_text(inputs: Tensor, target: Tensor) -> bool:
    """Whether `target` holds one label for each token of `inputs` `[B, T]`."""
    two = inputs.dim() == 2 and inputs.shape[1] > 1  # noqa: PLR2004 ([B, T])
    return two and not inputs.is_floating_point() and inputs.numel() == target.numel()

"""Turn one sampled step's parameters into rows of the readings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from .._types import Kind
from .joined import AnyOptimizer
from .naming import Names
from .norms import Measured, norms
from .parameters import (
    Before,
    adagrad_shares,
    attenuation,
    nonfinite_count,
    update_norms,
    zero_share,
)
from .recorder import Key, Recorder
from .rounding import swallowed_shares

_FLOAT32_BYTES = 4


@final
class ParameterRows:
    """Records the parameter tier; remembers the names of its rows from sample to sample."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._paths: tuple[str, ...] = ()
        self._keys: dict[tuple[Kind, str], tuple[Key, ...]] = {}

    @torch.no_grad()
    def write(
        self,
        step: int,
        optimizer: AnyOptimizer,
        names: Names,
        before: Before,
        unclipped: Sequence[Measured | None],
    ) -> None:
        """Record weight, gradient and real update of every parameter.

        Args:
            step: its number.
            optimizer: it has just stepped.
            names: of the parameters.
            before: the weights as they were; used up.
            unclipped: |gradient| of each parameter as the backward pass left it, None for none.
        """
        paths = tuple([names.of(p) for p in before.parameters])
        if paths != self._paths:
            self._paths, self._keys = paths, {}
        self._column(step, Kind.WEIGHT_GRAD, "norm", unclipped)
        self._column(step, Kind.WEIGHT, "norm", norms(before.weights))
        if any(weight.element_size() < _FLOAT32_BYTES for weight in before.weights):
            shares, wanted = swallowed_shares(optimizer, before)
            self._column(step, Kind.UPDATE, "swallowed", shares)
            self._column(step, Kind.UPDATE, "wanted_norm", wanted)
        self._column(step, Kind.UPDATE, "norm", update_norms(before))
        zeros: list[Measured | None] = [None] * len(paths)
        broken = zeros.copy()
        for place, parameter in enumerate(before.parameters):
            gradient = parameter.grad
            if gradient is not None:
                zeros[place] = zero_share(gradient)
                broken[place] = nonfinite_count(gradient, before.gradient[place])
        self._column(step, Kind.WEIGHT_GRAD, "zero_fraction", zeros)
        self._column(step, Kind.WEIGHT_GRAD, "nonfinite", broken)
        left = attenuation(optimizer, before.parameters)
        self._column(step, Kind.UPDATE, "attenuation", left)
        decayed = adagrad_shares(optimizer, before.parameters)
        if decayed:
            self._column(step, Kind.UPDATE, "adagrad_share", decayed)

    def _column(
        self, step: int, kind: Kind, statistic: str, values: Sequence[Measured | None]
    ) -> None:
        """Record one statistic of every parameter that has it."""
        keys = self._keys.get((kind, statistic))
        if keys is None:
            keys = tuple((path, kind, statistic) for path in self._paths)
            self._keys[kind, statistic] = keys
        there = [value for value in values if value is not None]
        if len(there) < len(keys):
            keys = tuple(k for k, value in zip(keys, values, strict=True) if value is not None)
        self._recorder.add_all(step, keys, there)

"""Turn one sampled step's parameters into rows of the readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .._types import Kind
from ..readings import Key
from .joined import AnyOptimizer
from .naming import Names
from .norms import Measured, is_zero, joint, norms
from .parameters import (
    Before,
    SeenGradient,
    alike_units,
    nonfinite_count,
    updates,
    zero_shares,
)
from .peaks import peaks
from .recorder import Recorder
from .rounding import swallowed_shares
from .scaling import Scaled, unscaled
from .second_moments import adagrad_shares, attenuation

_FLOAT32_BYTES = 4
_CLIPPED = 0.999  # what rounding takes is no clipping

Column = Sequence[Measured | None]  # a value for each parameter, None where it has none
Columns = Mapping[tuple[Kind, str], Column]


@dataclass(frozen=True, slots=True)
class Tier:
    """The parameters at one sampled step: of each the part that lies in this process.

    Attributes:
        columns: what is recorded of each, by kind and statistic.
        given: |gradient| as the optimizer got it.
        stale: |gradient| as the step before had left it, 0 where that is not known.
    """

    columns: Columns
    given: Column
    stale: Column

    @property
    def unclipped(self) -> Column:
        """|gradient| of each as the backward pass left it."""
        return self.columns[Kind.WEIGHT_GRAD, "norm"]


@torch.no_grad()
def measure_tier(
    optimizer: AnyOptimizer,
    before: Before,
    seen: Mapping[int, SeenGradient],
    stale: Mapping[int, Measured],
    scaled: Scaled | None,
) -> Tier:
    """Measure the parameters after a step.

    Args:
        optimizer: it has just stepped.
        before: the weights as they were; used up.
        seen: the gradients as the backward pass left them, by the identity of their parameter.
        stale: |gradient| of each just before the pass, likewise.
        scaled: what a gradient scaler has multiplied them by.
    """
    parameters = before.parameters
    held = tuple(zip(parameters, before.gradient, strict=True))
    columns: dict[tuple[Kind, str], Column] = {}
    columns[Kind.WEIGHT_GRAD, "norm"] = [
        unscaled(seen[id(p)].norm, scaled) if id(p) in seen else given for p, given in held
    ]
    columns[Kind.WEIGHT, "norm"] = norms(before.weights)
    # only beside a tape: it would add a fifth to what the parameters alone cost
    peaked = any(each.peak is not None for each in seen.values())
    if peaked:
        columns[Kind.WEIGHT_GRAD, "max_abs"] = [
            _seen_peak(seen.get(id(p)), scaled) for p in parameters
        ]
        columns[Kind.WEIGHT, "max_abs"] = peaks(before.weights)
    if any(weight.element_size() < _FLOAT32_BYTES for weight in before.weights):
        shares, wanted = swallowed_shares(optimizer, before)
        columns[Kind.UPDATE, "swallowed"] = shares
        columns[Kind.UPDATE, "wanted_norm"] = wanted
    moved = updates(before)
    columns[Kind.UPDATE, "norm"] = norms(moved)
    if peaked:
        columns[Kind.UPDATE, "max_abs"] = peaks(moved)
    gradients = [(p.grad, given) for p, given in held]
    columns[Kind.WEIGHT_GRAD, "zero_fraction"] = zero_shares([each for each, _ in gradients])
    columns[Kind.WEIGHT_GRAD, "nonfinite"] = [
        None if gradient is None else nonfinite_count(gradient, norm)
        for gradient, norm in gradients
    ]
    columns[Kind.UPDATE, "attenuation"] = attenuation(optimizer, parameters)
    decayed = adagrad_shares(optimizer, parameters)
    if decayed:
        columns[Kind.UPDATE, "adagrad_share"] = decayed
    left = [unscaled(stale.get(id(p), 0.0), scaled) for p in parameters]
    return Tier(columns, before.gradient, left)


def _seen_peak(seen: SeenGradient | None, scaled: Scaled | None) -> Measured | None:
    """Return the largest |value| of a gradient as the backward pass left it, None where unknown."""
    return None if seen is None or seen.peak is None else unscaled(seen.peak, scaled)


def _left(given: Measured | None, seen: Measured | None) -> Measured | None:
    """Return what clipping left of one parameter's gradient, None where there was none."""
    if given is None or seen is None or is_zero(seen):
        return None
    return given / seen


@final
class ParameterRows:
    """Records the parameter tier; remembers the names of its rows from sample to sample."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._paths: tuple[str, ...] = ()
        self._keys: dict[tuple[Kind, str], tuple[Key, ...]] = {}

    def write(self, step: int, before: Before, names: Names, tier: Tier) -> None:
        """Record what was measured of every parameter.

        Args:
            step: its number.
            before: whose parameters these are.
            names: of the parameters.
            tier: what was measured of them.
        """
        paths = tuple([names.of(p) for p in before.parameters])
        if paths != self._paths:
            self._paths, self._keys = paths, {}
        for (kind, statistic), column in tier.columns.items():
            self._column(step, kind, statistic, column)

    def write_alike(self, step: int, parameters: Sequence[Tensor]) -> None:
        """Record which of the weights that were written last hold units that are all the same."""
        self._column(step, Kind.WEIGHT, "units_alike", alike_units(parameters))

    def write_ratios(self, step: int, tier: Tier, *, clipped: bool, aged: bool) -> None:
        """Record what of the whole gradient clipping left, and what of it was there before.

        Args:
            step: its number.
            tier: what was measured.
            clipped: whether the gradient was seen before clipping.
            aged: whether it was seen before the backward pass.
        """
        whole = joint(tier.unclipped)
        if clipped and 0.0 < whole < float("inf"):
            share = joint(tier.given) / whole
            self._recorder.add(step, "optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", share)
            if share < _CLIPPED:
                left = [
                    _left(given, seen)
                    for given, seen in zip(tier.given, tier.unclipped, strict=True)
                ]
                self._column(step, Kind.WEIGHT_GRAD, "clip_coefficient", left)
        if aged and whole > 0.0:
            share = joint(tier.stale) / whole
            self._recorder.add(step, "optimizer", Kind.WEIGHT_GRAD, "stale", share)

    def _column(self, step: int, kind: Kind, statistic: str, values: Column) -> None:
        """Record one statistic of every parameter that has it."""
        keys = self._keys.get((kind, statistic))
        if keys is None:
            keys = tuple((path, kind, statistic) for path in self._paths)
            self._keys[kind, statistic] = keys
        there = [value for value in values if value is not None]
        if len(there) < len(keys):
            keys = tuple(k for k, value in zip(keys, values, strict=True) if value is not None)
        self._recorder.add_all(step, keys, there)

"""Who spends the bound of a clipping by norm, and what that leaves to the other layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind
from ._feed import feeds
from ._samples import median

if TYPE_CHECKING:
    from ..analysis.case import Case

# Those who bring this part of the squared norm set the coefficient: the others alone would be
# clipped three times less at most (1 / sqrt(1 - .9)). Chosen.
SPENT = 0.9
# Less than a tenth arrives (as the tolls ask; chosen), and clipped apart ten times more would.
TENTH, TEN_TIMES = 0.1, 10.0
# Turnovers: fatal SGD runs have .09 at most; healthy ones leave chance at .3 (decision rule).
STARVED, LEAVES_CHANCE = 0.1, 0.3
# Under these optimizers half of a gradient is half of a step.
_LINEAR = frozenset({"SGD", "ASGD", "by hand"})


@dataclass(frozen=True, slots=True)
class Spenders:
    """A few layers whose gradient uses up the bound, so that all others starve.

    Attributes:
        share: of the squared norm, by layer, the largest first.
        quiet: how many other layers there are.
        kept: what clipping leaves of the others' gradient.
        apart: what it would leave if it did not see the spenders.
        best: the best fed of the others, and its turnovers over the run.
    """

    share: Mapping[str, float]
    quiet: int
    kept: float
    apart: float
    best: tuple[str, float]

    @property
    def paths(self) -> tuple[str, ...]:
        """The spenders."""
        return tuple(self.share)

    @property
    def spent(self) -> float:
        """Their part of the squared norm together."""
        return min(1.0, sum(self.share.values()))


def spenders(case: Case) -> Spenders | None:
    """Return the layers that starve all others through the clipping, None where none do."""
    if case.record.optimizer not in _LINEAR:
        return None
    norms, given = _norms(case)
    if not given:
        return None
    share = _shares(norms)
    loud = _fewest(share)
    quiet = [layer for layer in share if layer not in loud]
    if not loud or len(loud) >= len(quiet):
        return None
    kept = median(_ratio(given, norms, quiet, step) for step in given)
    apart = median(
        min(1.0, _size(given[step]) / max(_size(norms[step], quiet), 1e-300)) for step in given
    )
    fed = [each for each in feeds(case) if each.path in quiet]
    best = max(fed, key=lambda each: each.feed, default=None)
    if best is None or not kept < TENTH or not apart >= TEN_TIMES * kept:
        return None
    if best.feed >= STARVED or best.feed * apart / max(kept, 1e-300) < LEAVES_CHANCE:
        return None
    return Spenders(
        share={layer: share[layer] for layer in loud},
        quiet=len(quiet),
        kept=kept,
        apart=apart,
        best=(best.path, best.feed),
    )


_Steps = dict[int, dict[str, float]]


def _norms(case: Case) -> tuple[_Steps, _Steps]:
    """Return |gradient| by step and layer: before clipping, and as the optimizer got it.

    Each parameter's part is recorded where something was clipped; elsewhere all of it is left.
    """
    readings = case.readings
    before: _Steps = {}
    after: _Steps = {}
    steps, wholes = readings.series("optimizer", Kind.WEIGHT_GRAD, "clip_coefficient")
    paths = readings.paths(Kind.WEIGHT_GRAD, "norm")
    for step, whole in zip(steps.tolist(), wholes.tolist(), strict=True):
        for path in paths:
            layer = path.rpartition(".")[0] or path
            norm = readings.at(step, path, Kind.WEIGHT_GRAD, "norm")
            left = readings.at(step, path, Kind.WEIGHT_GRAD, "clip_coefficient")
            left = min(1.0, whole) if left is None else left
            if norm is None or not math.isfinite(norm) or not math.isfinite(left):
                continue
            for rows, value in ((before, norm), (after, norm * left)):
                row = rows.setdefault(step, {})
                row[layer] = math.hypot(row.get(layer, 0.0), value)
    return before, after


def _shares(norms: _Steps) -> dict[str, float]:
    """Return each layer's median part of the squared norm, the largest first."""
    layers = {layer for row in norms.values() for layer in row}
    wholes = {step: _size(row) for step, row in norms.items()}
    share = {
        layer: median(
            (row.get(layer, 0.0) / wholes[step]) ** 2
            for step, row in norms.items()
            if wholes[step] > 0.0
        )
        for layer in layers
    }
    return dict(sorted(share.items(), key=lambda item: (-item[1], item[0])))


def _fewest(share: Mapping[str, float]) -> tuple[str, ...]:
    """Return the fewest layers that bring `SPENT` of the squared norm together."""
    found: list[str] = []
    for layer, part in share.items():
        if sum(share[each] for each in found) >= SPENT:
            break
        if part > 0.0:
            found.append(layer)
    return tuple(found)


def _size(row: Mapping[str, float], layers: list[str] | None = None) -> float:
    return math.hypot(*(row.get(layer, 0.0) for layer in (row if layers is None else layers)))


def _ratio(after: _Steps, before: _Steps, layers: list[str], step: int) -> float:
    whole = _size(before[step], layers)
    return _size(after[step], layers) / whole if whole > 0.0 else math.nan

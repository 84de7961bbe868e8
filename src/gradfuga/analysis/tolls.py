"""What is taken from a step between the backward pass and the weights."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .._types import Kind
from .clipping import kept_by_clipping
from .conditions import LEAVES_CHANCE, NOBODY_FED, half_turned, nobody_fed

if TYPE_CHECKING:
    from .case import Case

# Chosen: a step of which less than half arrives is another step than the optimizer's.
HALF = 0.5
# Chosen: less than a tenth arrives; training longer does not make up for it.
TENTH = 0.1
# A learning rate below this part of the largest counts as zero (chosen).
NO_RATE = 1e-3
# Adagrad under a steady gradient keeps 1/sqrt(t) of its first step by design. That a spike has
# filled its sum is said below this part of that (chosen: one order, far outside of noise).
BELOW_DESIGN = 0.1
FEWEST_SAMPLES = 3


class Taker(Enum):
    """Who takes it."""

    CLIPPING = "clipping"
    EPSILON = "epsilon"
    UNDERFLOW = "underflow"
    SKIPPING = "skipping"
    ROUNDING = "rounding"
    SCHEDULE = "schedule"
    ADAGRAD = "adagrad"


# Clipping and epsilon shorten the steps of healthy trainings too: only the extreme is told, and
# training longer may make up for it. That nobody is fed at all has its own verdict.
_USUAL = frozenset({Taker.CLIPPING, Taker.EPSILON})


@dataclass(frozen=True, slots=True)
class Toll:
    """One toll over the run.

    Attributes:
        kept: what is left of the steps, 0 to 1.
        wanted: turnovers of the best fed weight, had nothing been taken.
        paths: where, the worst first.
    """

    taker: Taker
    kept: float
    wanted: float
    paths: tuple[str, ...] = ()


def tolls(case: Case) -> tuple[Toll, ...]:
    """Return what is taken from the steps of `case`, the heaviest first."""
    found = [
        toll
        for of in (_underflow, _skipping, _rounding, _schedule, _adagrad, _clipping, _epsilon)
        if (toll := of(case)) is not None
    ]
    return tuple(sorted(found, key=lambda toll: toll.kept))


def arriving(case: Case) -> float:
    """Return what arrives of the steps at the weights, clipping and epsilon left out."""
    return min((toll.kept for toll in tolls(case) if toll.taker not in _USUAL), default=1.0)


def held_back(case: Case, taker: Taker | None = None, *, half: float = HALF) -> Toll | None:
    """Return the toll that keeps the weights from learning, None where none does.

    Less than half of the steps arrives, the weights have not turned over all the same, and would
    have moved far enough to learn something; what training longer cannot make up for, at all.

    Args:
        case: the training.
        taker: ask for this one alone.
        half: of a step, below which it is another step.
    """
    turned = half_turned(case)
    for toll in tolls(case):
        if (taker is not None and toll.taker is not taker) or toll.kept >= half:
            continue
        usual = toll.taker in _USUAL
        if usual and (toll.kept >= TENTH or nobody_fed(case)):
            continue
        # a gradient that is mostly lost moves weights too, and anywhere
        if turned and toll.taker is not Taker.UNDERFLOW:
            continue
        lasting = toll.kept < TENTH and not usual
        if toll.wanted >= (NOBODY_FED if lasting else LEAVES_CHANCE):
            return toll
    return None


def _underflow(case: Case) -> Toll | None:
    """The worst op of the path: what its format leaves of the gradient's norm."""
    lost = {
        path: _median(case.readings.series(path, Kind.ACTIVATION, "flushed_norm")[1].tolist())
        for path in case.readings.paths(Kind.ACTIVATION, "flushed_norm")
    }
    worst = sorted((path for path in lost if lost[path] > HALF), key=lambda path: -lost[path])
    if not lost:
        return None
    kept = 1.0 - max(lost.values())
    return Toll(Taker.UNDERFLOW, kept, _restored(case, kept), tuple(worst))


def _skipping(case: Case) -> Toll | None:
    """Steps that a gradient scaler keeps from the optimizer."""
    counted = case.readings.series("optimizer", Kind.UPDATE, "skipped_steps")[1].tolist()
    if not counted or case.steps[-1] < 1:
        return None
    kept = 1.0 - counted[-1] / (case.steps[-1] + 1)
    return Toll(Taker.SKIPPING, kept, _restored(case, kept))


def _rounding(case: Case) -> Toll | None:
    """Values that a step should have moved and that stayed as they were, over all weights."""
    sizes = {record.path: math.prod(record.shape) for record in case.record.parameters}
    shares, wanted = {}, [0.0]
    for path in case.readings.paths(Kind.UPDATE, "swallowed"):
        shares[path] = _median(case.readings.series(path, Kind.UPDATE, "swallowed")[1].tolist())
        step = _median(case.readings.series(path, Kind.UPDATE, "wanted_norm")[1].tolist())
        weight = _median(case.readings.series(path, Kind.WEIGHT, "norm")[1].tolist())
        if weight > 0.0 and math.isfinite(step):
            wanted.append(step / weight * case.total_steps)
    known = {path: share for path, share in shares.items() if math.isfinite(share)}
    if not known:
        return None
    count = sum(sizes.get(path, 1) for path in known)
    lost = sum(share * sizes.get(path, 1) for path, share in known.items()) / count
    worst = sorted(known, key=lambda path: -known[path])
    return Toll(Taker.ROUNDING, 1.0 - lost, max(wanted), tuple(worst))


def _schedule(case: Case) -> Toll | None:
    """The time that the learning rate spends at zero, unless it still rises."""
    steps, rates = case.readings.series("optimizer", Kind.UPDATE, "learning_rate")
    most = max([*rates.tolist(), case.record.settings.get("initial_lr", 0.0)], default=0.0)
    if len(rates) < FEWEST_SAMPLES or most <= 0.0 or rates[-1] > NO_RATE * most:
        return None
    edges = [*steps.tolist(), case.total_steps]
    spent = sum(
        edges[place + 1] - edges[place]
        for place, rate in enumerate(rates.tolist())
        if rate > NO_RATE * most
    )
    kept = spent / case.total_steps
    return Toll(Taker.SCHEDULE, kept, _restored(case, kept))


def _adagrad(case: Case) -> Toll | None:
    """What Adagrad's sum leaves of the late steps, against what a steady gradient leaves."""
    late = case.steps[-1] + 1 if case.steps else 0
    shares = [
        _median(values.tolist()[-FEWEST_SAMPLES:])
        for path in case.readings.paths(Kind.UPDATE, "adagrad_share")
        if len(values := case.readings.series(path, Kind.UPDATE, "adagrad_share")[1])
    ]
    known = [share for share in shares if math.isfinite(share)]
    if not known or late < FEWEST_SAMPLES:
        return None
    kept = min(1.0, max(known) * late**0.5)
    if kept >= BELOW_DESIGN:
        return None
    return Toll(Taker.ADAGRAD, kept, _restored(case, kept))


def _clipping(case: Case) -> Toll | None:
    """What clipping leaves of the gradient, for optimizers that do not divide by its size."""
    kept = min(1.0, _median(kept_by_clipping(case)))
    if not math.isfinite(kept) or case.readings.paths(Kind.UPDATE, "attenuation"):
        return None
    return Toll(Taker.CLIPPING, kept, _restored(case, kept))


def _epsilon(case: Case) -> Toll | None:
    """What epsilon leaves of the step of the best served layer."""
    weights = {layer.weight for layer in case.layers}
    known = [
        _median(case.readings.series(path, Kind.UPDATE, "attenuation")[1].tolist())
        for path in case.readings.paths(Kind.UPDATE, "attenuation")
        if path in weights
    ]
    kept = max((share for share in known if math.isfinite(share)), default=math.nan)
    return Toll(Taker.EPSILON, kept, _restored(case, kept)) if math.isfinite(kept) else None


def _restored(case: Case, kept: float) -> float:
    """Return how often the best fed weight had turned over, had nothing been taken."""
    turned = [value for value in case.turnovers[-1:].ravel().tolist() if math.isfinite(value)]
    if kept <= 0.0:
        return math.inf
    return max(turned, default=0.0) / kept


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else math.nan

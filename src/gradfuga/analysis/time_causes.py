"""Why the gradient shrinks or grows along time: the rate per step, split among its causes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Kind
from ..theory.recurrent import rnn_rate
from .lag_profile import LagProfile
from .remembering import expanding, memory_of

if TYPE_CHECKING:
    from ..readings import Readings
    from .case import Case

CONTRACTION, EXPANSION = "recurrent_contraction", "recurrent_expansion"
GATES, CUT = "closed_gates", "truncated_backpropagation"
_HALF_OPEN = 0.25  # two gates at one half each (an LSTM's input and output gate)
_CLOSED = 0.95  # a gate that keeps more than this forgets by a half in 14 steps at the soonest


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a recurrence does to the gradient.

    Attributes:
        profile: the recurrence.
        decades: log10 of the rate per step.
        scale: |W|_F / sqrt(H) of the recurrent block that writes the state; NaN where unknown.
        slope: rms slope of its activation; NaN where unknown.
        keep: mean of the gate that keeps the state; NaN where there is none.
    """

    profile: LagProfile
    decades: float
    scale: float
    slope: float
    keep: float


def steps_of(case: Case, *, grows: bool) -> tuple[Step, ...]:
    """Return what a step does in every recurrence: before any update where the gradient grows."""
    profiles = case.first_lags if grows else case.late_lags
    return tuple(_step(each, case.readings) for each in profiles)


def _step(found: LagProfile, readings: Readings) -> Step:
    return Step(
        profile=found,
        decades=math.log10(found.rate) if found.rate > 0.0 else math.nan,
        scale=found.at("recurrent_scale", Kind.WEIGHT, readings),
        slope=found.at("slope_rms", Kind.ACTIVATION, readings),
        keep=found.at("gate_keep", Kind.ACTIVATION, readings),
    )


def blamed_step(case: Case) -> Step | None:
    """Return the recurrence that reaches farthest back: where even it is too short, none is not."""
    known = [each for each in steps_of(case, grows=False) if not math.isnan(each.profile.reach)]
    # a decoder that is passed as a whole is not what the gradient fades in
    faded = [e for e in known if not (e.profile.continued and math.isinf(e.profile.reach))]
    return max(faded or known, key=lambda each: each.profile.reach, default=None)


def cut_short(case: Case) -> bool:
    """Whether `detach` cuts the gradient before it has faded, or the sequence ends before the lag.

    What is not in a sequence cannot be learned from it, however the gradient fades within.
    """
    memory, blamed = memory_of(case), blamed_step(case)
    if blamed is None or not memory.too_short:
        return False
    ends = float(blamed.profile.cut or memory.steps)
    if blamed.profile.cut is None and memory.needed >= ends:
        return True
    return memory.needed > ends and ends <= blamed.profile.horizon


def forgetting_shares(case: Case) -> dict[str, float]:
    """Return the causes' shares of a memory that is too short, by name."""
    blamed = blamed_step(case)
    if blamed is None:
        return {}
    if cut_short(case):
        return {CUT: 1.0}
    if not blamed.decades < 0.0:
        return {}
    if not math.isnan(blamed.keep):
        if blamed.keep > _CLOSED:
            return {}
        return {GATES: min(1.0, math.log10(blamed.keep) / blamed.decades)}
    per_step = _claim(blamed)
    return {CONTRACTION: min(1.0, per_step / blamed.decades)} if per_step < 0.0 else {}


def growing_shares(case: Case) -> dict[str, float]:
    """Return the causes' shares of a gradient that grows along time, by name."""
    paths = {each.path for each in expanding(case)}
    found = [each for each in steps_of(case, grows=True) if each.profile.path in paths]
    worst = max(found, key=lambda each: each.profile.growth, default=None)
    if worst is None:
        return {}
    per_step = _claim(worst)
    if worst.decades > 0.0 and per_step > 0.0:
        return {EXPANSION: min(1.0, per_step / worst.decades)}
    return {EXPANSION: 1.0}


def predicted_rate(case: Case, found: LagProfile) -> float:
    """Return the rate per step that theory gives for the state of the recurrence, NaN if unknown.

    A plain recurrence's matrix times its slope; what the gates keep plus the way through the
    matrix, with the other gates half open.
    """
    step = _step(found, case.readings)
    if math.isnan(step.scale):
        return math.nan
    if math.isnan(step.keep):
        return math.nan if math.isnan(step.slope) else rnn_rate(radius=step.scale, slope=step.slope)
    return step.keep + _HALF_OPEN * step.scale


def _claim(step: Step) -> float:
    """Return the decades per step that the matrix and the slope account for."""
    if math.isnan(step.scale):
        return step.decades
    slope = 0.0 if math.isnan(step.slope) or step.slope <= 0.0 else math.log10(step.slope)
    gated = not math.isnan(step.keep)
    return step.decades if gated or step.scale <= 0.0 else math.log10(step.scale) + slope

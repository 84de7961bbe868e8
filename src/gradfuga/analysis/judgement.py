"""Judge a case: the verdict needs a symptom and its consequence.

The order of the questions is that of the decision rule that was measured on 702 labelled
trainings (see docs/how-it-judges.md): non-finite first, then whether the network has learned
anything, then the first symptom in time, because later ones are its consequences.

Two of that rule's holes are closed here. Progress is held against what the task is known to
permit (a reference learner on the same batches), never against a loss of zero alone. And where
neither is known, the answer is `inconclusive`, with what would settle it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from .._types import Axis, Severity, Verdict
from .alike import stays_alike
from .breakage import broke_suddenly, broken_data, nonfinite_step
from .build import REACH_LIMIT, highest_reach, lowest_reach
from .case import Case
from .conditions import (
    LEAVES_CHANCE,
    clear_fall,
    clipped_away,
    constant_inputs,
    dead_at,
    grew_dead,
    half_turned,
    has_time_axis,
    late_lowest,
    lost_share,
    lost_units,
    nobody_fed,
    path_starves_all,
    starved_layers,
    stopped_step,
    training_share,
    unreached_share,
    waiting_reach,
    weights_decayed,
)
from .crossed import crossed_targets
from .dropped import dropout_noise
from .remembering import along_depth, expands, memory_of, opened
from .tolls import TENTH, held_back
from .wrong_sign import reversed_loss

# Where the gradient falls by more than this, no learning rate that an optimizer survives brings it
# back (severity scale of the reach: 1.3 to 2.5 mild, 2.5 to 4 serious).
SERIOUS_REACH = 2.5
# Healthy runs of adaptive optimizers start as low as this (same evaluation).
BEYOND_HEALTHY = 5.0
# The reference finds less than this in random labels in 1,589 of 1,590 trials.
NOTHING_TO_LEARN = 0.05
LATE_SHARE = 0.25  # of the run lost to a low reach: worth a note (same evaluation)
UNREACHED = 0.25  # chosen: a part of the model that nobody leaves out of the loss on purpose
LOST_SHARE = 0.02  # with poor progress: the reach heals early, the damage stays
FEWEST_STEPS = 20
WORSE_THAN_CONSTANT = -1.0
# A head on a frozen backbone is judged by what it learns; only one that learns nothing is asked
# whether most of the model takes part in the training at all.
HALF_OF_THE_MODEL = 0.5


class Why(Enum):
    """What decided the verdict; the summary and the causes follow from it."""

    NONFINITE_PATH = "nonfinite_path"
    NONFINITE_RATE = "nonfinite_rate"
    NONFINITE_DATA = "nonfinite_data"
    NONFINITE_SUDDEN = "nonfinite_sudden"
    CONSTANT_DATA = "constant_data"
    LEARNS = "learns"
    LEARNS_PARTLY = "learns_partly"
    LEARNS_LATE = "learns_late"
    STARVES = "starves"
    NEVER_LEARNS = "never_learns"
    POOR = "poor"
    BORN_DEAD = "born_dead"
    KILLED = "killed"
    WORSE = "worse"
    DECAYED = "decayed"
    ALIKE = "alike"
    CROSSED = "crossed"
    WRONG_SIGN = "wrong_sign"
    DROPPED = "dropped"
    PROBABILITIES = "probabilities"
    FLOWS = "flows"
    NOTHING_FOUND = "nothing_found"
    HELD_BACK = "held_back"
    NOT_FED = "not_fed"
    STOPPED = "stopped"
    NOT_TRAINED = "not_trained"
    TOO_SHORT = "too_short"
    LEARNS_LITTLE = "learns_little"
    STILL_FALLING = "still_falling"
    CEILING_UNKNOWN = "ceiling_unknown"
    LEARNS_WEAKLY = "learns_weakly"
    HIDDEN_BY_NOISE = "hidden_by_noise"
    FLOWS_UNSETTLED = "flows_unsettled"
    NO_BASELINE = "no_baseline"
    TIME_AXIS = "time_axis"
    TIME_HIDDEN = "time_hidden"
    FORGETS = "forgets"
    GROWS_IN_TIME = "grows_in_time"
    NOTHING_SEEN = "nothing_seen"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and what decided it."""

    verdict: Verdict
    severity: Severity
    axis: Axis | None
    why: Why


def judge(case: Case) -> Judgement:
    """Return the verdict on `case`."""
    if not case.steps or case.total_steps == 0:
        return _open(Why.NOTHING_SEEN)
    if reversed_loss(case) is not None and case.total_steps >= FEWEST_STEPS:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.WRONG_SIGN)
    first_broken = nonfinite_step(case)
    start_high = highest_reach(case.reach[0], case.layers)
    if first_broken is not None:
        if broken_data(case) is not None:
            return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.NONFINITE_DATA)
        by_path = start_high > REACH_LIMIT
        if expands(case) and not (by_path and along_depth(case, start_high)):
            return Judgement(Verdict.EXPLODING, Severity.FATAL, Axis.TIME, Why.NONFINITE_PATH)
        if not by_path and broke_suddenly(case):
            return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.NONFINITE_SUDDEN)
        why = Why.NONFINITE_PATH if by_path else Why.NONFINITE_RATE
        return Judgement(Verdict.EXPLODING, Severity.FATAL, Axis.DEPTH if by_path else None, why)
    alike = stays_alike(case) is not None and not dead_at(case, 0)
    if alike and case.total_steps >= FEWEST_STEPS:
        severity = Severity.SERIOUS if case.progress.informed else Severity.FATAL
        return Judgement(Verdict.STALLED, severity, None, Why.ALIKE)
    if case.progress.informed:
        return _informed(case)
    if case.progress.weak and not case.progress.nothing:
        return _weak(case)
    if case.progress.known and constant_inputs(case) and case.total_steps >= FEWEST_STEPS:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.CONSTANT_DATA)
    crossed = case.progress.known and crossed_targets(case) is not None
    if crossed and case.total_steps >= FEWEST_STEPS:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.CROSSED)
    idle = training_share(case) < HALF_OF_THE_MODEL
    learns = not case.progress.known and clear_fall(case)
    if idle and case.total_steps >= FEWEST_STEPS and not learns:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.NOT_TRAINED)
    if not case.progress.known:
        return _without_baseline(case)
    return _uninformed(case)


def _informed(case: Case) -> Judgement:
    progress = case.progress
    if memory_of(case).too_short:
        return _forgets(Severity.SERIOUS)
    late = late_lowest(case)
    start_high = highest_reach(case.reach[0], case.layers)
    symptom_stays = late < -REACH_LIMIT
    if not progress.poor and not progress.open:
        return _healthy(case)
    if symptom_stays and starved_layers(case):
        return _starves(case, Severity.SERIOUS, start_high)
    idle = training_share(case) < HALF_OF_THE_MODEL or unreached_share(case) >= HALF_OF_THE_MODEL
    if progress.poor and idle:
        return Judgement(Verdict.STALLED, Severity.SERIOUS, None, Why.NOT_TRAINED)
    if progress.poor and _stopped(case):
        return Judgement(Verdict.STALLED, Severity.SERIOUS, None, Why.STOPPED)
    sound = -REACH_LIMIT < lowest_reach(case.reach[0], case.layers) <= start_high < REACH_LIMIT
    if progress.poor and sound and lost_units(case):
        return Judgement(Verdict.DEAD_UNITS, Severity.SERIOUS, None, Why.KILLED)
    if progress.poor:
        if symptom_stays or lost_share(case) >= LOST_SHARE:
            return _vanishing(Severity.SERIOUS, Why.POOR)
        if start_high > REACH_LIMIT:
            return Judgement(Verdict.EXPLODING, Severity.SERIOUS, Axis.DEPTH, Why.POOR)
        if expands(case):
            return Judgement(Verdict.EXPLODING, Severity.SERIOUS, Axis.TIME, Why.GROWS_IN_TIME)
        # what learns with the half of its steps that arrives is slowed, not stalled
        if held_back(case, half=TENTH) is not None:
            return Judgement(Verdict.STALLED, Severity.SERIOUS, None, Why.HELD_BACK)
        return _open(Why.LEARNS_LITTLE)
    # less than half of the way to zero, and nobody knows whether the task permits more
    suspicious = symptom_stays or start_high > 2.0 * REACH_LIMIT
    healed = lost_share(case) >= LOST_SHARE and not progress.falling
    if suspicious or healed:
        return _open(Why.CEILING_UNKNOWN)
    return _healthy(case)


def _weak(case: Case) -> Judgement:
    """It has learned a little, by more than chance; memorised examples look the same."""
    if late_lowest(case) < -REACH_LIMIT or lost_share(case) >= LOST_SHARE or grew_dead(case):
        return _open(Why.CEILING_UNKNOWN)
    progress = case.progress
    confirmed = progress.reference > 2.0 * progress.reference_error
    return _healthy(case) if confirmed else _open(Why.LEARNS_WEAKLY)


def _uninformed(case: Case) -> Judgement:
    start_low = lowest_reach(case.reach[0], case.layers)
    start_high = highest_reach(case.reach[0], case.layers)
    moved = _moved(case)
    seen_enough = case.total_steps >= FEWEST_STEPS
    if dead_at(case, 0):
        return Judgement(Verdict.DEAD_UNITS, Severity.FATAL, None, Why.BORN_DEAD)
    if start_high > REACH_LIMIT and not (nobody_fed(case) and not clipped_away(case)):
        if not seen_enough or (case.record.interrupted and not moved):
            return _open(Why.TOO_SHORT)
        if expands(case) and not along_depth(case, start_high) and not _no_signal(case):
            return Judgement(Verdict.EXPLODING, Severity.FATAL, Axis.TIME, Why.GROWS_IN_TIME)
        if not case.progress.nothing:
            return _open(Why.HIDDEN_BY_NOISE)
        return Judgement(Verdict.EXPLODING, Severity.FATAL, Axis.DEPTH, Why.NEVER_LEARNS)
    if expands(case) and seen_enough and not _no_signal(case):
        return Judgement(Verdict.EXPLODING, Severity.FATAL, Axis.TIME, Why.GROWS_IN_TIME)
    mild = start_low > -SERIOUS_REACH  # as healthy runs start too: a graver fault goes before it
    graver = (
        grew_dead(case)
        or case.progress.u < WORSE_THAN_CONSTANT
        or weights_decayed(case)
        or case.graph.double_softmax is not None
        or held_back(case) is not None
    )
    if mild and not graver and seen_enough and moved and memory_of(case).too_short:
        return _forgets(Severity.FATAL)
    # a recurrence takes a decade off what is below it by what it is
    if start_low < -REACH_LIMIT and not (mild and (graver or opened(case))):
        if starved_layers(case):
            return _vanishing(Severity.FATAL, Why.STARVES)
        beyond_rate = start_low < -BEYOND_HEALTHY or (
            start_low < -SERIOUS_REACH and path_starves_all(case)
        )
        if seen_enough and (moved or beyond_rate):
            return _vanishing_or_hidden(case, start_low)
        return _unfed(case) if seen_enough else _open(Why.TOO_SHORT)
    return _fine_at_start(case, seen_enough=seen_enough)


def _fine_at_start(case: Case, *, seen_enough: bool) -> Judgement:
    """Nothing was learned although the path was sound, or hardly out of bounds, at first."""
    # units that are off for a batch, and a path that fades later, are then the masks' doing
    drowned = dropout_noise(case) > REACH_LIMIT and case.progress.nothing
    if drowned and seen_enough and _moved(case):
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.DROPPED)
    if grew_dead(case):
        return Judgement(Verdict.DEAD_UNITS, Severity.FATAL, None, Why.KILLED)
    if held_back(case) is not None and seen_enough:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.HELD_BACK)
    if case.progress.u < WORSE_THAN_CONSTANT and seen_enough:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.WORSE)
    if weights_decayed(case):
        if not case.progress.nothing:
            return _open(Why.HIDDEN_BY_NOISE)
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.DECAYED)
    if case.graph.double_softmax is not None and seen_enough:
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.PROBABILITIES)
    if seen_enough and _moved(case) and memory_of(case).too_short:
        return _forgets(Severity.FATAL)
    low = min(late_lowest(case), waiting_reach(case), key=lambda each: (each != each, each))  # noqa: PLR0124
    if low < -(SERIOUS_REACH if opened(case) else REACH_LIMIT):
        return _vanishing_or_hidden(case, low) if seen_enough else _open(Why.TOO_SHORT)
    if seen_enough and (nobody_fed(case) or _stopped(case)):
        return _unfed(case)
    if has_time_axis(case.graph) and not opened(case):
        return _open(Why.TIME_HIDDEN)
    if opened(case) and memory_of(case).open:
        return _open(Why.TIME_AXIS)
    return _flowing(case, seen_enough=seen_enough)


def _flowing(case: Case, *, seen_enough: bool) -> Judgement:
    """Nothing was learned and nothing is known to be wrong: an exclusion, and never fatal.

    A reference that learns the same examples is evidence against the network. One that finds
    nothing is none against the data, however tightly the network's own gain is bound: a signal
    of half a per cent (returns of shares, clicks) and a plateau before the first step look so.
    """
    progress = case.progress
    # that a reference model finds nothing to learn either is a second witness
    nothing_there = _nothing_found(case)
    if not seen_enough or not (half_turned(case) or (_moved(case) and nothing_there)):
        return _open(Why.TOO_SHORT)
    if progress.falling:
        return _open(Why.STILL_FALLING)
    if progress.lags:
        return Judgement(Verdict.STALLED, Severity.SERIOUS, None, Why.FLOWS)
    if progress.weak:
        return _open(Why.LEARNS_WEAKLY)
    if not progress.nothing:
        return _open(Why.HIDDEN_BY_NOISE)
    if nothing_there:
        return _open(Why.NOTHING_FOUND)
    return _open(Why.FLOWS_UNSETTLED)


def _vanishing_or_hidden(case: Case, reach: float) -> Judgement:
    """A reach as low as in healthy runs accuses only where it is known that nothing was learned.

    Where the reference finds nothing either, a weak signal may have been learned all the same.
    """
    known = case.progress.nothing and not _nothing_found(case)
    if reach > -SERIOUS_REACH and not known:
        return _open(Why.HIDDEN_BY_NOISE)
    return _vanishing(Severity.FATAL, Why.NEVER_LEARNS)


def _unfed(case: Case) -> Judgement:
    """The weights do not move, or not any more; more steps like these would change nothing."""
    if nobody_fed(case):
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.NOT_FED)
    if _stopped(case):
        return Judgement(Verdict.STALLED, Severity.FATAL, None, Why.STOPPED)
    return _open(Why.TOO_SHORT)


def _stopped(case: Case) -> bool:
    """Whether no weight has moved over the second half of the run."""
    step = stopped_step(case)
    return step is not None and 2 * step <= case.total_steps


def _without_baseline(case: Case) -> Judgement:
    """No best constant to compare with: adversarial, contrastive, custom losses."""
    if not case.readings.losses[1].size:
        return _open(Why.NOTHING_SEEN)
    late = late_lowest(case)
    falls = clear_fall(case)
    seen_enough = case.total_steps >= FEWEST_STEPS
    if dead_at(case, 0) and not falls:
        return Judgement(Verdict.DEAD_UNITS, Severity.FATAL, None, Why.BORN_DEAD)
    if late < -REACH_LIMIT and starved_layers(case) and seen_enough:
        severity = Severity.SERIOUS if falls else Severity.FATAL
        return _starves(case, severity, highest_reach(case.reach[0], case.layers))
    if falls:
        return _healthy(case)
    if seen_enough and memory_of(case).too_short:
        return _forgets(Severity.SERIOUS)
    return _open(Why.NO_BASELINE)


def _moved(case: Case) -> bool:
    """Whether the layer that moves most has moved as far as healthy networks that leave chance."""
    return float(np.nanmax(case.turnovers[-1], initial=0.0)) >= LEAVES_CHANCE


def _healthy(case: Case) -> Judgement:
    """It learns; what it learned late, or without a part of itself, is said but not accused."""
    why = Why.LEARNS
    if unreached_share(case) >= UNREACHED:
        why = Why.LEARNS_PARTLY
    elif case.progress.known and lost_share(case) >= LATE_SHARE:
        why = Why.LEARNS_LATE
    return Judgement(Verdict.HEALTHY, Severity.NONE, None, why)


def _forgets(severity: Severity) -> Judgement:
    return Judgement(Verdict.VANISHING, severity, Axis.TIME, Why.FORGETS)


def _no_signal(case: Case) -> bool:
    """Whether a reference model finds nothing to learn either."""
    return case.progress.reference < NOTHING_TO_LEARN


def _nothing_found(case: Case) -> bool:
    """Whether it is known that a reference model finds nothing in the examples that it has seen."""
    progress = case.progress
    return progress.reference + 2.0 * progress.reference_error < NOTHING_TO_LEARN


def _starves(case: Case, severity: Severity, start_high: float) -> Judgement:
    """Layers hardly move; where the path exploded first, they starve of that."""
    if start_high > REACH_LIMIT and case.blamed.total > 0.0:
        return Judgement(Verdict.EXPLODING, severity, Axis.DEPTH, Why.STARVES)
    return _vanishing(severity, Why.STARVES)


def _vanishing(severity: Severity, why: Why) -> Judgement:
    return Judgement(Verdict.VANISHING, severity, Axis.DEPTH, why)


def _open(why: Why) -> Judgement:
    return Judgement(Verdict.INCONCLUSIVE, Severity.NONE, None, why)

"""The truth about a configuration, found by experiment and not by looking at its gradients.

Controls have the same seeds, batches, optimizer and budget. With q the ratio of the times to half
of the best final progress and p the ratio of the final progress, medians of the seeds:

* sick in its path where the best repair of the path gives q >= 3 or p < 0.5; the kind is the sign
  of the reach before the first step, or dead units;
* else stalled, where nothing was learned and another change gives p < 0.5;
* else healthy. 2 < q < 3, trainings that nothing makes learn, and trainings that learn something
  and would learn twice as much at another rate are not scored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from .configuration import Configuration, Fault
from .networks import Repair
from .training import Change, Outcome, train

SLOWER = 3.0  # q from which a path is sick
BORDER = 2.0  # q up to which it is not
FAR = 0.5  # p below which a training is sick
LEARNED = 0.1  # final progress below which nothing was learned
KIND = 0.5  # decades of reach below which vanishing and exploding cannot be told apart


class Truth(StrEnum):
    """What a training is."""

    HEALTHY = "healthy"
    VANISHING = "vanishing, fatal"
    SLOW = "vanishing, slow"
    EXPLODING = "exploding"
    DEAD = "dead_units"
    STALLED = "stalled"
    KILLED = "killed by its rate"
    DIVERGED = "diverged"
    UNSCORED = "unscored"


ACCEPTED: Mapping[Truth, tuple[str, ...]] = {
    Truth.HEALTHY: ("healthy",),
    Truth.VANISHING: ("vanishing",),
    Truth.SLOW: ("vanishing",),
    Truth.EXPLODING: ("exploding",),
    Truth.DEAD: ("dead_units",),
    Truth.STALLED: ("stalled",),
    # Dead by its state, stalled by its cure.
    Truth.KILLED: ("dead_units", "stalled"),
    Truth.DIVERGED: ("exploding", "stalled"),
    Truth.UNSCORED: (),
}


@dataclass(frozen=True, slots=True)
class Label:
    """A truth and the experiments that it rests on: final progress by control, medians."""

    truth: Truth
    p: float
    q: float
    finals: Mapping[str, float]
    best: str
    reach: Sequence[float]


def path_controls(c: Configuration) -> Mapping[str, tuple[Repair, Change]]:
    """Return the repairs of the gradient path by name."""
    found = {repair.value: (repair, Change.NONE) for repair in (Repair.CRITICAL, Repair.NORMALIZED)}
    # Dense and pre-LN networks have their skips already; a post-LN one is made pre-LN.
    if c.architecture not in ("dense", "pre_norm"):
        found[Repair.SKIP.value] = (Repair.SKIP, Change.NONE)
    return found


def other_controls(c: Configuration) -> Mapping[str, tuple[Repair, Change]]:
    """Return the changes that leave the path as it is, by name."""
    changes = [Change.RATE_UP, Change.RATE_DOWN]
    if c.fault not in (Fault.NONE, Fault.LOW_BIAS):
        changes.append(Change.UNDO)
    return {change.value: (Repair.NONE, change) for change in changes}


def label(c: Configuration, seeds: Sequence[int]) -> Label:
    """Train the configuration and its controls, unobserved, and label it.

    Controls that cannot change the label are not trained: no progress is above 1, so that a
    training past 0.5 in no time is neither slow nor half of anything.
    """
    own = [train(c, seed, probed=True) for seed in seeds]
    final = median(o.final for o in own)
    finals = {"itself": final}
    p, q = 1.0, 1.0

    def judged(truth: Truth, best: str) -> Label:
        return Label(truth, p, q, finals, best, [o.reach for o in own])

    def try_all(
        wanted: Mapping[str, tuple[Repair, Change]],
    ) -> tuple[str, Sequence[Outcome]]:
        runs = {
            name: [train(c, seed, repair=repair, change=change) for seed in seeds]
            for name, (repair, change) in wanted.items()
        }
        finals.update({name: median(o.final for o in runs[name]) for name in runs})
        best = max(runs, key=finals.__getitem__)
        return best, runs[best]

    at_once = median(o.time_to(FAR) for o in own) <= BORDER * _shortest(c.steps)
    if final >= FAR and at_once:
        return judged(Truth.HEALTHY, "itself")
    path, treated = try_all(path_controls(c))
    half = max(final, finals[path]) / 2
    p, q = _ratio(final, finals[path]), _slower(own, treated, half, c.steps)
    if finals[path] >= LEARNED and (p < FAR or q >= SLOWER):
        return judged(_kind(own, is_slow=p >= FAR), path)
    if final < FAR:
        other, _ = try_all(other_controls(c))
        if finals[other] >= LEARNED and _ratio(final, finals[other]) < FAR:
            return judged(Truth.UNSCORED if final >= LEARNED else _stalled(own), other)
    if max(finals.values()) < LEARNED:
        return judged(Truth.UNSCORED, "nobody learns")
    if q > BORDER:
        return judged(Truth.UNSCORED, path)
    return judged(Truth.HEALTHY, "itself")


def _kind(own: Sequence[Outcome], *, is_slow: bool) -> Truth:
    if sum(math.isnan(o.reach) for o in own) * 2 > len(own):
        return Truth.DEAD
    reach = median(o.reach for o in own if not math.isnan(o.reach))
    if abs(reach) < KIND:
        return Truth.UNSCORED
    if reach > 0:
        return Truth.EXPLODING
    return Truth.SLOW if is_slow else Truth.VANISHING


def _stalled(own: Sequence[Outcome]) -> Truth:
    if sum(not o.finite for o in own) * 2 > len(own):
        return Truth.DIVERGED
    return Truth.KILLED if sum(o.dead for o in own) * 2 > len(own) else Truth.STALLED


def _ratio(final: float, treated: float) -> float:
    """Return how much of the treated progress the training reaches; 1 where there is none."""
    if treated <= 0:
        return 1.0
    return max(final, 0.0) / treated


def _slower(own: Sequence[Outcome], treated: Sequence[Outcome], half: float, steps: int) -> float:
    """Return the ratio of the times to `half`; times below a twentieth of the run count as that."""
    if half < LEARNED / 2:
        return 1.0
    shortest = _shortest(steps)
    mine = median(max(o.time_to(half), shortest) for o in own)
    theirs = median(max(o.time_to(half), shortest) for o in treated)
    return mine / theirs if math.isfinite(theirs) else 1.0


def _shortest(steps: int) -> float:
    return max(5.0, steps / 20)

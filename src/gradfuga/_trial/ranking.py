"""Rank treatments before any training: how well does the gradient reach every layer with each?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..analysis.build import REACH_LIMIT
from ..experiment import Arm, Treatment
from .bench import Bench

SEED = [0]  # the seed on which treatments are ranked and raced


def departure(arm: Arm) -> float:
    """Return by how many decades the reach leaves the limit of trainability, in either direction.

    At the first step, of the layer that is worst off; 0 where all lie within, infinity where no
    gradient arrives at all, NaN where none was read.

    Example:
        >>> from gradfuga._types import DepthProfile
        >>> from gradfuga.experiment import TrialRun
        >>> profile = DepthProfile(("head", "first"), (0.0, -4.3), (0.0, 0.0))
        >>> departure(Arm(Treatment("swap"), (TrialRun(0, depth=profile),)))
        3.0
    """
    reach = [abs(value) for run in arm.runs[:1] for value in run.depth.reach]
    return max(0.0, max(reach) - REACH_LIMIT) if reach else math.nan


def ranked(bench: Bench, untreated: Arm, treatments: Sequence[Treatment]) -> list[Treatment]:
    """Order treatments by the reach that they leave, measured on one batch.

    Each is applied and run up to its first step, whose gradient is that of the untouched start. Of
    those that leave the same, as when all lies within the limit, those come first that can be
    written into the source. What fails on that batch is out. Where the reach of the untreated
    network lies within the limit, the path is not what is ill, and nothing is measured.
    """
    before = departure(untreated)
    if not before > 0.0:
        return list(treatments)
    measured = bench.arms(treatments, SEED, 1)
    alive = [arm for arm in measured if arm.runs and not arm.failed]
    if not alive and bench.late:
        return list(treatments)

    def key(arm: Arm) -> tuple[float, bool]:
        left = departure(arm)
        left = before if math.isnan(left) else left  # not read: as good as nothing was done
        return left, not arm.treatment.lasting

    return [arm.treatment for arm in sorted(alive, key=key)]

"""Say why a trial ended as it did, and what limits its evidence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .._messages import _
from .._types import DepthProfile
from ..experiment import Arm, TrialRun
from .decision import learns

_ROUNDING = 1e-4  # decades; two runs of one seed read the same gradients


def why_nothing(untreated: Arm, standing: Sequence[Arm], *, late: bool) -> str:
    """Return why no treatment is proven; `late` where the time was used up."""
    if untreated.failed:
        return _("The untreated script failed when it was run again: {why}.").format(
            why=untreated.failed
        )
    if not standing:
        return _("No treatment could be run to its end.")
    if late:
        return _("The budget was used up before a treatment was proven.")
    if not any(learns(arm) for arm in standing):
        return _("No treatment helped: none of them made the script learn.")
    return _(
        "No treatment helped by more than chance: the interval of the best one's gain reaches "
        "down to nothing."
    )


def too_small(first: TrialRun, steps: int) -> str:
    """Return that the budget pays for `steps` of each training only."""
    return _(
        "The budget is too small: a start takes {start:.1f} s and a step {step:.2g} s, "
        "so that each training would get {steps} steps. Give a larger --budget."
    ).format(start=first.startup_seconds, step=first.step_seconds, steps=steps)


def why_interrupted(winner: Arm | None) -> str:
    """Return what was known when Ctrl-C came."""
    if winner is None:
        return _("Interrupted before anything was proven.")
    return _("Interrupted: it helps, but was not held against its controls yet.")


def limits(first: TrialRun, again: Arm) -> Iterator[str]:
    """Yield what a second run with seed 0, `again`, shows of the script's randomness."""
    if first.own_seeds:
        yield _("The script seeds itself: seed 0 is its own, the others shift what it sets.")
    if again.failed or not again.runs:
        return
    second = again.runs[0]
    common = min(len(second.start), len(first.start))
    # a network that is cut off from its inputs has the same loss whatever they are; its reach tells
    if second.start[:common] != first.start[:common] or not _alike(first.depth, second.depth):
        yield _(
            "The script draws randomness that no seed reaches: two runs with one seed differ, so "
            "pairs are alike only on average."
        )


def _alike(one: DepthProfile, other: DepthProfile) -> bool:
    """Whether two runs have read one reach before their first step."""
    return one.path != other.path or all(
        math.isclose(mine, yours, abs_tol=_ROUNDING)
        for mine, yours in zip(one.reach, other.reach, strict=True)
    )

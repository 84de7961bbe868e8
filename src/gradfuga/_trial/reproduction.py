"""Run the patched source, and say whether it does what the treatment did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .._messages import _, _n
from .._sentences import sentence
from ..experiment import Arm, Trial
from .bench import Bench
from .decision import AS_GOOD, better, compare, learns
from .patching import SourcePatch
from .scratch import Place


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of a patch.

    Attributes:
        patch: what was run, or what can only be read.
        arm: its runs, None where it was not run.
        proven: it does as well as the treatment that was made in memory.
        because: why, or why not, in one sentence.
    """

    patch: SourcePatch
    arm: Arm | None
    proven: bool
    because: str

    def told(self, trial: Trial) -> Trial:
        """Return `trial` with the change of the source in it."""
        return replace(
            trial,
            patched=self.arm,
            diff=self.patch.diff,
            diff_proven=self.proven,
            diff_because=self.because,
            diff_base=self.patch.base,
            unplaced=tuple((sentence(edit), why) for edit, why in self.patch.unplaced),
            sources=self.patch.files,
        )


def unrun(patch: SourcePatch, why: str) -> Reproduction:
    """Return a patch that has not been run, `why`."""
    if not patch.diff:
        reasons = " ".join(dict.fromkeys(reason for _edit, reason in patch.unplaced))
        why = _("It cannot be written into the source: {why}").format(why=reasons)
    return Reproduction(patch, None, False, why)


def reproduce(
    bench: Bench,
    ways: Iterable[SourcePatch],
    place: Place,
    *,
    untreated: Arm,
    treated: Arm,
    seeds: Sequence[int],
    steps: int,
) -> Reproduction:
    """Run the ways to write one treatment until one does as well as the treatment itself.

    A way gets all seeds only after it has done well with the first one.

    Args:
        bench: where they run.
        ways: of `patches`.
        place: the project.
        untreated: the script as it is.
        treated: the treatment as it was made in memory, with `seeds`.
        seeds: of the pairs.
        steps: of each training.

    Returns:
        The first that is proven, else the one that came closest.
    """
    tried: list[Reproduction] = []
    for patch in ways:
        if not patch.diff:
            tried.append(unrun(patch, ""))
            continue
        treatment = patch.treatment(place)
        [arm] = bench.arms([treatment], seeds[:1], steps)
        if _as_good(untreated, treated, arm):
            [arm] = bench.arms([treatment], seeds, steps)
        found = _judged(patch, arm, untreated, treated, len(seeds))
        if found.proven:
            return found
        tried.append(found)
    return max(tried, key=lambda each: (each.arm is not None, _gain(untreated, each.arm)))


def _gain(untreated: Arm, arm: Arm | None) -> float:
    found = None if arm is None else compare(untreated, arm)
    return -1e9 if found is None else found.difference


def _as_good(untreated: Arm, treated: Arm, patched: Arm) -> bool:
    """Whether the patch gains as much as the treatment, over the seeds that it has."""
    theirs, ours = compare(untreated, _same(treated, patched)), compare(untreated, patched)
    if theirs is None or ours is None:
        return False
    return learns(patched) and ours.difference >= AS_GOOD * theirs.difference


def _same(treated: Arm, patched: Arm) -> Arm:
    """Return the treated arm with the seeds of the patched one."""
    seeds = {run.seed for run in patched.runs}
    return replace(treated, runs=tuple(run for run in treated.runs if run.seed in seeds))


def _judged(patch: SourcePatch, arm: Arm, untreated: Arm, treated: Arm, pairs: int) -> Reproduction:
    found, theirs = compare(untreated, arm), compare(untreated, _same(treated, arm))
    if arm.failed:
        return Reproduction(
            patch, arm, False, _("The patched source failed: {why}").format(why=arm.failed)
        )
    if found is None or theirs is None:
        return Reproduction(
            patch, None, False, _("The budget was used up before the patched source was run.")
        )
    if not _as_good(untreated, treated, arm):
        why = _("The patched source was run: it gains {ours:+.3f}, the treatment {theirs:+.3f}.")
        why = why.format(ours=found.difference, theirs=theirs.difference)
        return Reproduction(patch, arm, False, why)
    if found.pairs < pairs or not better(found):
        return Reproduction(
            patch, arm, False, _("The budget was used up before it was run with every seed.")
        )
    runs = zip(arm.runs, treated.runs, strict=False)
    if all(ours.start and ours.start == theirs.start for ours, theirs in runs):
        because = _n(
            "The patched source was run with {count} seed: its losses are those of the treated "
            "model, digit by digit.",
            "The patched source was run with {count} seeds: its losses are those of the treated "
            "model, digit by digit.",
            found.pairs,
        )
    else:
        because = _n(
            "The patched source was run with {count} seed and does as well as the treated model.",
            "The patched source was run with {count} seeds and does as well as the treated model.",
            found.pairs,
        )
    return Reproduction(patch, arm, True, because.format(count=found.pairs))

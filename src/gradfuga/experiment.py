"""The nouns of a trial: one training, the arms that are compared, and what came of it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from enum import StrEnum

from ._edits import UseLogits
from ._types import DepthProfile, Diagnosis, Edit, Prescription, Safety
from .readings import Readings

# What these put in stays in every step. The others are over before the first one, or put something
# in the place of what cost as much.
_COSTLY = frozenset(
    {"insert_normalization", "add_skip", "scale_branch", "replace_recurrent", "clip_gradient"}
)


class ArmKind(StrEnum):
    """What an arm of a trial is there for."""

    UNTREATED = "untreated"
    TREATMENT = "treatment"
    RANDOM = "random"  # a treatment drawn blindly: what any repair has to beat
    LONGER = "longer"  # untreated, for all the steps that the search has cost
    PATCHED = "patched"  # the winner as a patch of the user's own source


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One training of one arm: the user's script, in a child process, for a slice of steps.

    Attributes:
        seed: number of the pair; every arm has run with it.
        steps: optimizer steps taken.
        curve_steps: steps of the thinned loss curve.
        curve: losses at those steps.
        score: progress `u` within -1 and 1, of the held-out loss where there is one; without a
            baseline the negative logarithm of the loss. NaN where neither can be had.
        error: standard error of `score` within the run.
        known: whether `score` is a progress.
        loss: mean of the last losses.
        held_out: the last loss of the script's own evaluation, None where it has none.
        depth: reach of every layer at the first sampled step.
        startup_seconds: from the start of the process to its first optimizer step.
        step_seconds: median step.
        parameters: numbers that the optimizer moves.
        peak_bytes: most memory that the process held.
        ended: the script came to its own end within the slice.
        start: the first losses, as they are.
        modules: what it imported that another run may find imported.
        files: the user's files that it ran, by path within the project, the script first.
        copy: the working copy of the project that it ran in; gone by now.
        own_seeds: the script seeds itself, so that seed 0 is the script's own.
        failed: why there is no result, "" where there is one.
    """

    seed: int
    steps: int = 0
    curve_steps: tuple[int, ...] = ()
    curve: tuple[float, ...] = ()
    score: float = math.nan
    error: float = math.nan
    known: bool = False
    loss: float = math.nan
    held_out: float | None = None
    depth: DepthProfile = field(default_factory=DepthProfile)
    startup_seconds: float = 0.0
    step_seconds: float = 0.0
    parameters: int = 0
    peak_bytes: int = 0
    ended: bool = False
    start: tuple[float, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    copy: str = ""
    own_seeds: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What an arm changes: edits of the model and its training, or whole patched files.

    Attributes:
        title: what it does, in the user's language.
        prescriptions: where it comes from.
        sources: new text of the user's files, by path within the working copy.
        safety: the gravest of its edits.
        kind: what its arm is there for.
        lasting: the source can be changed for all of it, as far as is known.
    """

    title: str
    prescriptions: tuple[Prescription, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    safety: Safety = Safety.SAFE
    kind: ArmKind = ArmKind.TREATMENT
    lasting: bool = True

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Every edit, in the order in which they are applied."""
        return tuple(edit for each in self.prescriptions for edit in each.edits)

    @property
    def remedies(self) -> tuple[str, ...]:
        """The codes of its remedies."""
        return tuple(each.remedy for each in self.prescriptions)

    @property
    def costly(self) -> bool:
        """Whether every step does more work afterwards: it takes longer, or moves more numbers."""
        return any(edit.kind in _COSTLY for edit in self.edits)

    @property
    def size(self) -> tuple[bool, int, bool, int]:
        """How much it asks for: by hand, then unsafe, then work in each step, then many edits."""
        return (
            not self.lasting,
            list(Safety).index(self.safety),
            self.costly,
            max(len(self.edits), len(self.sources)),
        )


@dataclass(frozen=True, slots=True)
class Arm:
    """A treatment with the runs that it got, one a seed."""

    treatment: Treatment
    runs: tuple[TrialRun, ...] = ()

    @property
    def failed(self) -> str:
        """Why the arm is out, "" where it is not."""
        return next((run.failed for run in self.runs if run.failed), "")

    @property
    def score(self) -> float:
        """Mean score over the seeds; NaN where a run failed or none was made."""
        scores = [run.score for run in self.runs]
        return sum(scores) / len(scores) if scores and not self.failed else math.nan

    @property
    def steps(self) -> int:
        """Optimizer steps of all its runs."""
        return sum(run.steps for run in self.runs)

    @property
    def step_seconds(self) -> float:
        """Median over the runs of the median step."""
        return statistics.median([run.step_seconds for run in self.runs] or [math.nan])

    @property
    def reach(self) -> float:
        """The lowest reach of a layer at the first step, in decades; NaN where it was not read."""
        read = [r for run in self.runs[:1] for r in run.depth.reach if not math.isnan(r)]
        return min(read, default=math.nan)


@dataclass(frozen=True, slots=True)
class PatchedFile:
    """One of the user's files, as it is and as a patch makes it.

    Attributes:
        path: absolute.
        before: its text when the trial read it, line ends and byte order mark kept.
        after: the patched text.
        diff: from one to the other, unified.
    """

    path: str
    before: str
    after: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The paired difference of two arms.

    Attributes:
        difference: mean over the seeds of treated minus untreated score.
        interval: its 95 % interval, Student's t over the pairs.
        p_value: one-sided, exact, by flipping the signs of the differences; at least 2**-pairs.
        pairs: how many seeds.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    pairs: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried on a script, and what is proven.

    Attributes:
        diagnosis: of the untreated script.
        trainings: the readings that were diagnosed.
        proven: the treated script learns, and clearly better than the untreated one.
        because: why it is proven, or why not, in one sentence.
        budget: what was allowed, in words.
        slice_steps: steps of one training.
        whole: the slice is the script's whole training.
        held_out: the scores are of held-out losses.
        untreated: the script as it is.
        treated: the smallest treatment that works, None where none does.
        patched: the treated script as a patch of its source, None where there is no patch.
        comparison: treated against untreated, None where there is nothing to compare.
        tried: every treatment that got at least one run, the most promising first.
        controls: a random treatment and a longer training.
        diff: unified diff of the user's source, "" where there is none.
        diff_proven: the patched source was run, and did as well.
        diff_because: why it is proven, or why not, in one sentence; "" without a treatment.
        diff_base: the folder in which `git apply` takes the diff.
        unplaced: what the diff leaves out, and why, a sentence each.
        sources: the patched files.
        steps: optimizer steps that the whole trial took.
        seconds: wall time that it took.
        notes: what limits the evidence, a sentence each.
        interrupted: it was ended by Ctrl-C.
    """

    diagnosis: Diagnosis
    proven: bool
    because: str
    budget: str
    slice_steps: int = 0
    whole: bool = False
    held_out: bool = False
    untreated: Arm | None = None
    treated: Arm | None = None
    patched: Arm | None = None
    comparison: Comparison | None = None
    tried: tuple[Arm, ...] = ()
    controls: tuple[Arm, ...] = ()
    diff: str = ""
    diff_proven: bool = False
    diff_because: str = ""
    diff_base: str = ""
    unplaced: tuple[tuple[str, str], ...] = ()
    sources: tuple[PatchedFile, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    trainings: tuple[Readings, ...] = ()
    interrupted: bool = False

    @property
    def logits(self) -> bool:
        """Whether the model of the patched source puts out logits, where it put out chances."""
        edits = self.treated.treatment.edits if self.treated is not None else ()
        return any(isinstance(edit, UseLogits) for edit in edits)

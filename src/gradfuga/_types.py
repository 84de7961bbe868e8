"""The frozen nouns that pass between the verbs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from ._edits import Edit as Edit
from ._edits import Safety as Safety


class Kind(StrEnum):
    """What a reading was taken of."""

    WEIGHT = "weight"
    WEIGHT_GRAD = "weight_grad"
    UPDATE = "update"
    ACTIVATION = "activation"
    ACTIVATION_GRAD = "activation_grad"
    LOSS = "loss"


class Verdict(StrEnum):
    """What a diagnosis says of a training."""

    HEALTHY = "healthy"
    VANISHING = "vanishing"
    EXPLODING = "exploding"
    DEAD_UNITS = "dead_units"
    STALLED = "stalled"  # does not learn, and the gradient flow is not why
    INCONCLUSIVE = "inconclusive"


class Severity(Enum):
    """How bad it is; ordered."""

    NONE = "none"
    MILD = "mild"
    SERIOUS = "serious"
    FATAL = "fatal"

    @property
    def rank(self) -> int:
        """0 for none to 3 for fatal."""
        return list(Severity).index(self)

    def __lt__(self, other: Severity) -> bool:
        return self.rank < other.rank


class Axis(StrEnum):
    """Along what the gradient changes."""

    DEPTH = "depth"
    TIME = "time"


class Role(StrEnum):
    """What a finding is for the verdict."""

    SYMPTOM = "symptom"
    CAUSE = "cause"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of the user's own program."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reading held against what a healthy network would show."""

    path: str
    kind: Kind
    statistic: str
    step: int
    observed: float
    expected: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found, with its evidence.

    `log_gain` is the finding's claim on the reach in decades (log10), negative where it shrinks
    the gradient; 0 where the finding is not a factor of the backward pass.
    """

    code: str
    name: str
    role: Role
    severity: Severity
    message: str
    axis: Axis | None = None
    paths: tuple[str, ...] = ()
    source: tuple[SourceLine, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    log_gain: float = 0.0
    cause: str = ""  # the cause name of the contract, for role CAUSE


@dataclass(frozen=True, slots=True)
class Cause:
    """A named cause and its share of the symptom, 0 to 1."""

    name: str
    code: str
    share: float
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A rule that could not run, and why."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Prescription:
    """A remedy chosen for this diagnosis: `edits` that belong together, in order."""

    remedy: str
    title: str
    treats: tuple[str, ...]
    safety: Safety
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class DepthProfile:
    """Reach along the main line, output first: decades, and their spread over the last samples."""

    path: tuple[str, ...] = ()
    reach: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeProfile:
    """The gradient against the lag in one recurrence, over the last samples.

    `norm` is at the joint state, against that at the loss; `rate` its gain per step; `horizon` the
    first lag at which a thousandth of lag 1 is left, inf where it is not within the sequence.
    """

    path: str
    direction: str
    lag: tuple[int, ...]
    norm: tuple[float, ...]
    rate: float
    horizon: float


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The run that was observed. `overhead` is the observer's time over the bare training's.

    `warnings` are the parts of the observer that failed on the way, and by what.
    """

    script: str
    steps: int
    sampled_steps: int
    overhead: float
    startup_seconds: float
    loss_first: float | None
    loss_last: float | None
    optimizer: str
    interrupted: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The verdict on one training, with everything that it rests on.

    The shares of `causes` and `unexplained` add up to 1.
    """

    verdict: Verdict
    severity: Severity
    axis: Axis | None
    summary: str
    inconclusive_because: str | None
    findings: tuple[Finding, ...]
    causes: tuple[Cause, ...]
    unexplained: float
    skipped: tuple[Skipped, ...]
    prescriptions: tuple[Prescription, ...]
    depth: DepthProfile
    run: RunSummary
    model: str = ""  # class name of the root module, or "" for a training without one
    time: tuple[TimeProfile, ...] = ()
    lag: int | None = None  # time steps that the task needs, where the user says so
    others: tuple[Diagnosis, ...] = field(default=())  # the script's other trainings, worst first

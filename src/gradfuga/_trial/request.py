"""What a child process is asked to run, and how its report comes back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .._types import DepthProfile, Edit
from ..experiment import Treatment, TrialRun
from .scratch import Place


@dataclass(frozen=True, slots=True)
class Request:
    """One training of one arm.

    Attributes:
        place: the user's folders and script.
        arguments: the script's own.
        treatment: what is changed, None for nothing.
        seed: number of the pair.
        steps: at most so many optimizer steps.
        seconds: at most so many seconds since the process began.
        patience: seconds after which the process is killed, its first step taken or not.
        training: which of the script's trainings is judged, in the order of their first steps.
        model: class name of that training's model; edits are made to it alone.
        record: a folder to record the whole observation into; light observation where "".
        hurdle: a run that has learned nothing by this step ends there; 0 for none.
        gated: a run whose reach leaves the limit at its first step ends there.
    """

    place: Place
    arguments: tuple[str, ...]
    treatment: Treatment | None
    seed: int
    steps: int | None
    seconds: float | None
    patience: float
    training: int = 0
    model: str = ""
    record: str = ""
    hurdle: int = 0
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A request as the child gets it: its paths are those of the working copy."""

    place: Place
    original: Path
    arguments: tuple[str, ...]
    prescriptions: tuple[tuple[Edit, ...], ...]
    seed: int
    steps: int | None
    seconds: float | None
    training: int
    model: str
    record: str
    hurdle: int
    gated: bool
    report: Path

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Every edit, in the order in which they are made."""
        return tuple(edit for each in self.prescriptions for edit in each)


def write_run(run: TrialRun, path: Path) -> None:
    """Write `run` as JSON, whole or not at all; a number that is not finite is null.

    Of the reach only an exact zero of the gradient is not finite: see `first_reach`.
    """
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(_plain(asdict(run)), allow_nan=False), "utf-8")
    scratch.replace(path)


def read_run(path: Path) -> TrialRun:
    """Read what `write_run` has written."""
    raw = json.loads(path.read_text("utf-8"))
    depth = raw.pop("depth")
    reach = tuple(-math.inf if value is None else value for value in depth["reach"])
    for key in ("score", "error", "loss"):
        raw[key] = math.nan if raw[key] is None else raw[key]
    for key in ("curve", "start"):
        raw[key] = tuple(math.nan if value is None else value for value in raw[key])
    for key in ("curve_steps", "modules", "files"):
        raw[key] = tuple(raw[key])
    known = {field.name for field in fields(TrialRun)}
    return TrialRun(
        depth=DepthProfile(tuple(depth["path"]), reach, tuple(depth["spread"])),
        **{key: raw[key] for key in raw.keys() & known},
    )


def _plain(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value

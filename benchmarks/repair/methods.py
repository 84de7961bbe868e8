"""The methods: each looks for a treatment, all with the same trainings, hurdle and proof."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from gradfuga._catalog import collect
from gradfuga._contracts import AbstractRemedy
from gradfuga._edits import (
    ClipGradient,
    Edit,
    Initialize,
    InsertNormalization,
    SetOptimizer,
    SwapActivation,
)
from gradfuga._trial.bench import UNTREATED
from gradfuga._trial.candidates import treatments_for
from gradfuga._trial.decision import better, compare, learns
from gradfuga._trial.search import Found, Search
from gradfuga._types import (
    Cause,
    DepthProfile,
    Diagnosis,
    Prescription,
    RunSummary,
    Safety,
    Severity,
    Verdict,
)
from gradfuga.experiment import ArmKind, Treatment

from .subjects import FILE, Subject

LONGER = 2  # how many times as long "longer" trains: what the budget allows with all its pairs


@dataclass(frozen=True, slots=True)
class Method:
    """A way to look for a treatment.

    Attributes:
        name: of the row in the table.
        look: returns what was found.
        draws: how often it is repeated, where it draws at random.
    """

    name: str
    look: Callable[[Search, Diagnosis, Subject, int], Found | None]
    draws: int = 1


def ours(search: Search, diagnosis: Diagnosis, subject: Subject, draw: int) -> Found | None:
    """gradfuga: the prescriptions, ranked by the reach that they leave, combined where needed."""
    del subject, draw
    candidates = treatments_for(diagnosis)
    return search.among(candidates) if candidates else None


def shuffled(search: Search, diagnosis: Diagnosis, subject: Subject, draw: int) -> Found | None:
    """The same prescriptions and combinations, in an order that is drawn."""
    drawn = random.Random(f"{subject.name} {draw}")
    candidates = treatments_for(diagnosis)
    return _blindly(search, candidates, drawn) if candidates else None


def at_random(search: Search, diagnosis: Diagnosis, subject: Subject, draw: int) -> Found | None:
    """A remedy drawn from all there are, whatever the diagnosis; combinations of these."""
    del diagnosis
    return _blindly(search, catalogue(), random.Random(f"{subject.name} {draw}"))


def _blindly(search: Search, candidates: Sequence[Treatment], drawn: random.Random) -> Found:
    def order(given: Sequence[Treatment]) -> list[Treatment]:
        return drawn.sample(list(given), len(given))

    return replace(search, order=order, by_reach=False).among(candidates)


@cache
def catalogue() -> tuple[Treatment, ...]:
    """Return every remedy that can be applied without a diagnosis to say where: everywhere."""
    found: dict[tuple[Edit, ...], Treatment] = {}
    for remedy in collect("gradfuga.remedies", "REMEDY", of=AbstractRemedy).values():
        for cause in sorted(remedy.treats):
            edits = tuple(remedy.prescribe(_blank(cause)))
            if edits and remedy.safety is not Safety.ADVICE:
                made = Prescription(remedy.code, remedy.title, (), remedy.safety, edits)
                found.setdefault(edits, Treatment(remedy.title, (made,), safety=remedy.safety))
    return tuple(found.values())


def _blank(cause: str) -> Diagnosis:
    run = RunSummary("", 0, 0, 0.0, 0.0, None, None, "")
    return Diagnosis(
        Verdict.STALLED, Severity.FATAL, None, "", None, (), (Cause(cause, "", 1.0),), 0.0, (), (),
        DepthProfile(), run,
    )  # fmt: skip


def _treatment(title: str, *edits: Edit) -> Treatment:
    return Treatment(title, (Prescription("", title, (), Safety.UNSAFE, edits),))


_LECUN, _HE = Initialize("fan_in", 1.0), Initialize("fan_in", 2**0.5)
_SELU = _treatment("SELU", SwapActivation("selu"), _LECUN)
_RELU = _treatment("ReLU", SwapActivation("relu"), _HE)
_BATCH = _treatment("BatchNorm", InsertNormalization("batch"))
_CLIP = _treatment("clipping", ClipGradient("norm", 1.0))
_TANH = _treatment("tanh", SwapActivation("tanh"), Initialize("fan_average", 1.0))
_DRAW = _treatment("another initialiser", _HE)
_LEAKY = _treatment("LeakyReLU", SwapActivation("leaky_relu"))
# AutoTrainer (Zhang et al. 2021), the order of its repairs for each of its symptoms
_AUTOTRAINER = {
    Verdict.VANISHING: (_SELU, _RELU, _BATCH),
    Verdict.EXPLODING: (_SELU, _RELU, _CLIP, _TANH, _BATCH),
    Verdict.DEAD_UNITS: (_SELU, _BATCH, _DRAW, _LEAKY),
}


def autotrainer(search: Search, diagnosis: Diagnosis, subject: Subject, draw: int) -> Found | None:
    """AutoTrainer's order for the symptom, which is told to it; each with its initialisation."""
    del subject, draw
    order = _AUTOTRAINER.get(diagnosis.verdict)
    return _in_order(search, order) if order else None


def patience(search: Search, diagnosis: Diagnosis, subject: Subject, draw: int) -> Found | None:
    """The learning rate by decades, down and up; then twice as long."""
    del diagnosis, draw
    rates = [
        _treatment(f"rate x {factor:g}", SetOptimizer("lr", factor, relative=True))
        for factor in (0.1, 10.0, 0.01, 100.0)
    ]
    found = _in_order(search, rates)
    if found.winner is not None or not subject.longer:
        return found
    title = f"{LONGER} times as long"
    longer = Treatment(title, sources=((FILE, subject.longer),), kind=ArmKind.LONGER)
    steps = LONGER * search.steps
    [arm] = search.bench.arms([longer], [0], steps)
    if not learns(arm) or not arm.runs:
        return found
    [found.untreated] = search.bench.arms([UNTREATED], search.seeds, search.steps)
    [arm] = search.bench.arms([longer], search.seeds, steps)
    if better(compare(found.untreated, arm)) and learns(arm):
        found.winner = arm
    return found


def _in_order(search: Search, order: Sequence[Treatment]) -> Found:
    [untreated] = search.bench.arms([UNTREATED], [0], search.steps)
    return search.decided(Found(untreated, replace(search, by_reach=False).raced(untreated, order)))


METHODS = (
    Method("gradfuga", ours),
    Method("AutoTrainer's order", autotrainer),
    Method("random remedy", at_random, draws=2),
    Method("random order", shuffled, draws=2),
    Method("longer, other rates", patience),
)

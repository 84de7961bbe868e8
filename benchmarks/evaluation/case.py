"""One case: a configuration, observed and judged, beside its label."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from .configuration import Configuration, draw
from .matrix import Row
from .training import train
from .truth import Label, label


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration, its label, and what was said of each of its trainings."""

    index: int
    configuration: Configuration
    label: Label
    verdicts: tuple[str, ...]
    causes: tuple[str, ...]
    seconds: float

    @property
    def rows(self) -> list[Row]:
        """One row for each seed."""
        pairs = zip(self.verdicts, self.causes, strict=True)
        return [Row(self.index, s, self.label.truth, v, c) for s, (v, c) in enumerate(pairs)]

    def __str__(self) -> str:
        c, found = self.configuration, self.label
        drawn = (c.architecture, c.depth, c.activation, c.initialization, c.optimizer, c.task)
        return (
            f"{self.index:4d} {found.truth.value:18s} | {' '.join(self.verdicts):30s} | "
            f"{' '.join(map(str, drawn))} {c.fault} {c.decoy} | "
            f"p {found.p:.2f} q {found.q:.1f} best {found.best}"
        )


def judge(c: Configuration, seed: int) -> tuple[str, str]:
    """Train once, observed; return the verdict and its first cause."""
    from gradfuga._diagnose import diagnose
    from gradfuga._observe import observe

    with observe() as observer:
        train(c, seed)
    diagnosis = diagnose(observer.trainings)
    return diagnosis.verdict.value, next((cause.name for cause in diagnosis.causes), "")


def evaluate(name: str, seed: int, index: int, repeats: int, *, judged: bool) -> Case:
    """Judge and label configuration number `index`."""
    torch.set_num_threads(1)
    began = time.monotonic()
    c = draw(name, seed, index)
    said = [judge(c, repeat) if judged else ("", "") for repeat in range(repeats)]
    found = label(c, range(repeats))
    verdicts, causes = zip(*said, strict=True)
    return Case(index, c, found, verdicts, causes, time.monotonic() - began)

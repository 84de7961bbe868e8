"""One network of the zoo: a training, the verdict that it must get, and what backs that label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Training = Callable[[int], float]
"""Build everything from a seed, run the loop, return the progress (1 perfect, 0 a constant)."""


@dataclass(frozen=True, slots=True)
class Member:
    """A labelled training.

    Attributes:
        name: what it is, as a sentence fragment without spaces.
        train: the training itself; it knows nothing of gradfuga.
        sick: whether it fails to learn what its control learns.
        verdicts: the verdicts that are right for it.
        causes: the names of which the first cause must be one; empty where none is asked for.
        control: for a sick member the same training with the smallest fix; for a healthy one,
            where it is given, a repair of its gradient path, which must not be much better.
        reaches: the progress that the control of a sick member, or a healthy one itself, gets to.
    """

    name: str
    train: Training
    sick: bool
    verdicts: tuple[str, ...]
    reaches: float
    causes: tuple[str, ...] = ()
    control: Training | None = None

    def __str__(self) -> str:
        return self.name


def sick(
    train: Training,
    verdicts: tuple[str, ...],
    causes: tuple[str, ...],
    *,
    name: str,
    control: Training,
    reaches: float = 0.6,
) -> Member:
    """Label a training that does not learn, with the smallest fix that makes it learn."""
    return Member(name, train, True, verdicts, reaches, causes, control)


def healthy(
    train: Training,
    *,
    name: str,
    reaches: float,
    verdicts: tuple[str, ...] = ("healthy",),
    control: Training | None = None,
) -> Member:
    """Label a training that learns what there is to learn, however odd it looks."""
    return Member(name, train, False, verdicts, reaches, (), control)

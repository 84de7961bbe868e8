"""Which weights the training holds back: out of reach of the loss, frozen, or not optimized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..analysis.case import Case

FEWEST_SAMPLES = 3  # a branch that is drawn at random may be missed once or twice
# A pooler or an expert that is not in use is no reason not to learn.
UNREACHED_SHARE = 0.25
FROZEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """Weights of dim > 1: those in question, out of how many."""

    paths: tuple[str, ...]
    of: int

    @property
    def share(self) -> float:
        """Their share by count, 0 where there are none at all."""
        return len(self.paths) / self.of if self.of else 0.0


def unreached(case: Case) -> Part:
    """Return the weights that the optimizer holds and that no sampled backward pass reached."""
    held = [p for p in case.record.parameters if p.trainable and p.optimized and len(p.shape) > 1]
    if len(case.steps) < FEWEST_SAMPLES:
        return Part((), len(held))
    return Part(tuple(p.path for p in held if not p.reached), len(held))


def frozen(case: Case) -> Part:
    """Return the weights that do not train, or that the optimizer does not hold."""
    weights = [p for p in case.record.parameters if len(p.shape) > 1]
    return Part(tuple(p.path for p in weights if not (p.trainable and p.optimized)), len(weights))


def unregistered(case: Case) -> Part:
    """Return the weights that the model keeps in plain lists or dicts, and nobody trains."""
    weights = [p for p in case.record.parameters if len(p.shape) > 1]
    outside = [p.path for p in weights if not p.registered and p.trainable and not p.optimized]
    return Part(tuple(outside), len(weights))

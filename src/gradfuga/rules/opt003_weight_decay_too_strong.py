"""Weight decay that pulls harder than the gradient pushes.

What it finds
    In a network that learns nothing: weights that have shrunk below half of their first norm
    under weight decay, where the decay outdoes the gradient at the end of the run, or the layers
    below have lost their gradient.

Why it matters
    The gain of the gradient across a layer is its weight scale, so weights that shrink take the
    gradient with them; then there is less and less to hold against the decay. The end is a
    network that answers with its last bias.

Evidence
    The ``norm`` of the weights that shrank most, last against first; and ``decay_pull``, what
    the decay takes over what the gradient gives, against 1.

Known limits
    Weights in front of a normalisation shrink and grow without any effect, which is why a network
    that learns is not reported. The decay is that of the first parameter group.

References
    Krogh and Hertz 1992, A Simple Weight Decay Can Improve Generalization. Loshchilov and Hutter
    2019, https://arxiv.org/abs/1711.05101 (decoupled decay).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._decay import decay_wins
from ._progress import learns_nothing
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class WeightDecayTooStrong(AbstractRule):
    """Blames decay that shrinks the weights away."""

    code: ClassVar[str] = "OPT003"
    name: ClassVar[str] = "weight-decay-too-strong"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "weight_decay_too_strong"

    shrunk: float = 0.5  # of the first norm (decision rule)
    limit: float = 1.30  # decades of reach: six depth scales (Schoenholz et al. 2017)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the weights, the most shrunk first."""
        if not learns_nothing(case):
            return ()
        found = sorted(
            decay_wins(case, below=self.shrunk, limit=self.limit),
            key=lambda each: each.last / each.first,
        )
        if not found:
            return ()
        worst = found[0]
        message = _(
            "Weight decay of {decay} has shrunk '{weight}' from {first} to {last}; at the end it "
            "pulls {pull} times as hard as the gradient."
        ).format(
            decay=plain(case.record.settings["weight_decay"]),
            weight=worst.path,
            first=plain(worst.first),
            last=plain(worst.last),
            pull=plain(worst.pull),
        )
        evidence: list[Evidence] = []
        for each in found[:3]:
            evidence.append(
                Evidence(each.path, Kind.WEIGHT, "norm", each.step, each.last, each.first)
            )
            if math.isfinite(each.pull):
                evidence.append(
                    Evidence(each.path, Kind.WEIGHT, "decay_pull", each.step, each.pull, 1.0)
                )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=tuple(each.path for each in found[:8]),
                evidence=tuple(evidence),
            ),
        )


RULE = WeightDecayTooStrong()

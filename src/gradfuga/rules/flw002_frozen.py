"""A network that is mostly frozen, and whose few free weights cannot learn the task.

What it finds
    More than half of the model's weight matrices that do not train, or that the optimizer does
    not hold, in a network that learns nothing.

Why it matters
    Freezing a backbone is sound where the rest can learn on top of it. A slip in the condition
    that selects what to freeze leaves a bias or two to train, and the loss goes no further than
    the class frequencies.

Evidence
    The share of weight matrices that are held back, against one half.

Known limits
    Weights are counted by number, not by size. A frozen backbone with a head that learns is
    healthy and gives nothing.

References
    Yosinski et al. 2014, https://arxiv.org/abs/1411.1792 (which features transfer).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._held import FROZEN_SHARE, frozen
from ._progress import learns_nothing
from ._words import quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class Frozen(AbstractRule):
    """Blames weights that are not allowed to move."""

    code: ClassVar[str] = "FLW002"
    name: ClassVar[str] = "frozen"
    role: ClassVar[Role] = Role.CAUSE
    cause: ClassVar[str] = "frozen"

    share: float = FROZEN_SHARE  # of the weights: "most of the model" (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the weights that are held back."""
        part = frozen(case)
        fails = learns_nothing(case) or case.progress.poor
        if not part.share > self.share or not fails:
            return ()
        message = _(
            "{count} of the {of} weights of the model do not train ({paths}), and what is left "
            "free cannot learn the task."
        ).format(count=len(part.paths), of=part.of, paths=quoted(part.paths))
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=part.paths[:8],
                evidence=(
                    Evidence(
                        "optimizer",
                        Kind.WEIGHT,
                        "frozen_share",
                        case.steps[-1] if case.steps else 0,
                        part.share,
                        self.share,
                    ),
                ),
            ),
        )


RULE = Frozen()

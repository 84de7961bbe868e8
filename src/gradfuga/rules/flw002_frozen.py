"""A network that is mostly frozen, and whose few free weights cannot learn the task.

What it finds
    More than half of the model's weight matrices that do not train, or that the optimizer does
    not hold, in a network that learns nothing. And, as a note, weights that the loss depends on
    and that the model keeps in a plain list or dict, where `parameters()` does not find them.

Why it matters
    Freezing a backbone is sound where the rest can learn on top of it. A slip in the condition
    that selects what to freeze leaves a bias or two to train, and the loss goes no further than
    the class frequencies. So does a list of layers that is no ``nn.ModuleList``.

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
from .._types import Evidence, Finding, Kind, Role, Severity, SourceLine
from ._blame import built_lines
from ._held import FROZEN_SHARE, frozen, unregistered
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
        """Return one finding with the weights that are held back, a note where it learns."""
        part, outside = frozen(case), unregistered(case)
        fails = learns_nothing(case) or case.progress.poor
        accuses = part.share > self.share and fails
        if not accuses and not outside.paths:
            return ()
        told = part if accuses else outside
        message = (
            _(
                "{count} of the {of} weights of the model do not train ({paths}), and what is left "
                "free cannot learn the task."
            )
            if accuses
            else _("{count} of the {of} weights that the loss depends on do not train ({paths}).")
        ).format(count=len(told.paths), of=told.of, paths=quoted(told.paths))
        if outside.paths:
            message += " " + _(
                "The model keeps '{first}' in a plain list or dict, where its parameters() does "
                "not find it: use nn.ModuleList or nn.ModuleDict if it is to train."
            ).format(first=outside.paths[0])
        share = Evidence(
            "optimizer",
            Kind.WEIGHT,
            "frozen_share",
            case.steps[-1] if case.steps else 0,
            told.share,
            self.share,
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=told.paths[:8],
                source=_where_kept(case, outside.paths),
                evidence=(share,),
                accuses=accuses,
            ),
        )


def _where_kept(case: Case, weights: tuple[str, ...]) -> tuple[SourceLine, ...]:
    paths = tuple(layer.path for layer in case.layers if layer.weight in weights)
    return tuple(dict.fromkeys((*built_lines(case, paths), *case.source_of(paths))))


RULE = Frozen()

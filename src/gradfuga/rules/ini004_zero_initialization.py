"""Weights that start at zero, so that all units behind them are off.

What it finds
    At the first step: dead activations that are fed by a layer whose weights are all exactly zero.

Why it matters
    Every unit behind such a layer gives the same nothing, and where that is a flat part of the
    activation, as for a ReLU, no gradient passes: nothing below is ever trained. Another
    activation does not help, since the gradient is multiplied by the zeros too.

Evidence
    ``norm`` of the first such weight.

Known limits
    Layers that start at zero on purpose, at the end of a residual branch or as a head, feed no
    activation that is dead for the whole batch, and are not reported.

References
    Glorot and Bengio 2010 (symmetry). He et al. 2015, https://arxiv.org/abs/1502.01852.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Role, Severity
from ._blame import MOST_PATHS, built_lines
from ._dead import zero_fed
from ._progress import learns_well
from ._words import quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ZeroInitialization(AbstractRule):
    """Finds layers that start at zero and whose units are dead for that."""

    code: ClassVar[str] = "INI004"
    name: ClassVar[str] = "zero-initialization"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm", "dead_share"})
    cause: ClassVar[str] = "small_init"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the layers."""
        found = {layer.path: layer.weight for layer, _dead in zero_fed(case)}
        if not found or learns_well(case):
            return ()
        paths = tuple(found)
        message = _(
            "The weights of {layers} start at zero: every unit behind them gives the same nothing, "
            "and no gradient passes. Draw them at random."
        ).format(layers=quoted(paths))
        weight = found[paths[0]]
        return (
            self.finding(
                severity=Severity.SERIOUS,
                axis=Axis.DEPTH,
                message=message,
                paths=paths[:MOST_PATHS],
                source=tuple(dict.fromkeys((*case.source_of(paths), *built_lines(case, paths)))),
                evidence=(Evidence(weight, Kind.WEIGHT, "norm", case.steps[0], 0.0, 1.0),),
            ),
        )


RULE = ZeroInitialization()

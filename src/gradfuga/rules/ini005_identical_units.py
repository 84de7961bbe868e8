"""Layers whose units all start with the same weights, and never become different.

What it finds
    In a network that has not learned what its data permits: trainable weights of which all units
    (rows) are the same to four digits, at every one of three looks or more.

Why it matters
    Units that start alike get the same gradient and stay alike: a layer of 64 such units computes
    what one unit would. From a constant that is not zero their gradients cancel besides, since
    those of the classes add up to nothing; from zero nothing passes in either direction, and only
    the last bias is ever trained.

Evidence
    ``units_alike_share``, the share of the network's weights that are so at the last look.

Known limits
    Looked at after 1, 2, 3, 5, 9, 17, ... samples, and not in models that several processes train.
    A head, a branch or an adapter that starts at zero on purpose has moved by the second look.

References
    Goodfellow et al. 2016, Deep Learning, section 8.4: the initial parameters have to break the
    symmetry between units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ._blame import MOST_PATHS, built_lines
from ._words import quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class IdenticalUnits(AbstractRule):
    """Blames layers that hold one unit many times over."""

    code: ClassVar[str] = "INI005"
    name: ClassVar[str] = "identical-units"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"units_alike"})
    cause: ClassVar[str] = "small_init"

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on all such layers."""
        from ..analysis.alike import MOST_ALIKE, stays_alike  # noqa: PLC0415 (numpy)

        found = stays_alike(case)
        if found is None:
            return ()
        layers = {layer.weight: layer.path for layer in case.layers}
        paths = tuple(layers.get(weight, weight) for weight in found.weights)
        message = _(
            "All units of {layers} have the same weights, from the first look to the last: they "
            "get the same gradient, and compute what one unit would. Draw the weights at random."
        ).format(layers=quoted(paths))
        share = Evidence(
            "optimizer", Kind.WEIGHT, "units_alike_share", found.step, found.share, MOST_ALIKE
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                paths=paths[:MOST_PATHS],
                source=tuple(dict.fromkeys((*built_lines(case, paths), *case.source_of(paths)))),
                evidence=(share,),
            ),
        )


RULE = IdenticalUnits()

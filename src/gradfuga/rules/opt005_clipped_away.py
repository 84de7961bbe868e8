"""Gradient clipping that leaves next to nothing of the steps.

What it finds
    In a network that learns nothing: weights that move by less than a hundredth of their size
    over the run, and would move more if the gradient were not clipped; or clipping that leaves less
    than a tenth of steps that would have led the weights somewhere. In any network: a few layers
    whose gradient uses up the whole bound, so that all others stand still.

Why it matters
    Clipping bounds the step, not only the outlier: with a bound far below the usual norm every
    step is cut to the same small length, and under SGD the network stands still. Clipping by the
    norm of everything shortens all layers by the same factor, also those whose gradient was never
    large: one loud layer (a penalty, a scale, a loss of its own) starves the rest.

Evidence
    ``clip_coefficient``, the norm that the optimizer is given over the norm that the backward
    pass left, against the coefficient at which the weights would be fed; the ``feed``; and
    ``norm_share``, the part of the squared norm that one layer alone brings about. Where a few
    spend the whole bound, the others' coefficient is set against the one that they would have if
    those were clipped apart: it must be ten times larger, and feed them.

Known limits
    Adam and its kind divide by the gradient's size, so that clipping does not shorten their
    steps: there it is never blamed, unless epsilon takes over. That a few layers starve the others
    is told of SGD alone, whose steps are proportional to what is left. Where something is learned
    all the same, it is a note: the loss may be the loud layers' own.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063 (a bound of half to ten
    times the average norm).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _, _n
from .._types import Evidence, Finding, Kind, Role, Severity
from ._bound import STARVED, Spenders, spenders
from ._feed import best_fed
from ._progress import learns_nothing
from ._samples import value_at
from ._short_steps import clip_coefficient, wiped_steps
from ._words import plain, quoted

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class ClippedAway(AbstractRule):
    """Blames a clipping bound that swallows the steps."""

    code: ClassVar[str] = "OPT005"
    name: ClassVar[str] = "clipped-away"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"clip_coefficient"})
    cause: ClassVar[str] = "clipped_away"

    fed: float = 0.01  # turnovers over the run (decision rule)
    fewest_steps: int = 20  # shorter runs are trials, not trainings (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the clipping."""
        from ..analysis.tolls import Taker, held_back  # noqa: PLC0415 (numpy)

        best = best_fed(case)
        if best is None or case.total_steps < self.fewest_steps or wiped_steps(case):
            return ()
        loud = spenders(case)
        if loud is not None:
            return (self._starved_by(case, loud),)
        if not learns_nothing(case):
            return ()
        coefficient = clip_coefficient(case)
        starved = best.feed < self.fed <= best.feed / coefficient
        if not starved and held_back(case, Taker.CLIPPING) is None:
            return ()
        step = case.steps[-1]
        message = _(
            "Clipping leaves {coefficient} of the gradient: in {steps} steps no weight changes by "
            "more than {feed} of its size, and without the clipping it would by {unclipped}."
        ).format(
            coefficient=plain(coefficient),
            steps=case.total_steps,
            feed=plain(best.feed),
            unclipped=plain(best.feed / coefficient),
        )
        return (
            self.finding(
                severity=Severity.SERIOUS,
                message=message,
                evidence=(
                    Evidence(
                        "optimizer",
                        Kind.WEIGHT_GRAD,
                        "clip_coefficient",
                        step,
                        coefficient,
                        min(1.0, coefficient * self.fed / best.feed) if best.feed > 0.0 else 1.0,
                    ),
                    Evidence(best.path, Kind.UPDATE, "feed", step, best.feed, self.fed),
                    *_largest_share(case, step),
                ),
            ),
        )

    def _starved_by(self, case: Case, loud: Spenders) -> Finding:
        """Return the finding on layers that use up the bound: a note where something is learned."""
        message = _n(
            "'{layers}' alone spends the clipping's bound: it brings {share} of the squared norm, "
            "so that clipping leaves the other {quiet} layers {kept} of their gradient. Clipped "
            "apart from it they would keep {apart}.",
            "{layers} spend the clipping's bound: they bring {share} of the squared norm, so that "
            "clipping leaves the other {quiet} layers {kept} of their gradient. Clipped apart from "
            "them they would keep {apart}.",
            len(loud.paths),
        ).format(
            layers=loud.paths[0] if len(loud.paths) == 1 else quoted(loud.paths),
            share=f"{100.0 * loud.spent:.3g} %",
            quiet=loud.quiet,
            kept=plain(loud.kept),
            apart=plain(loud.apart),
        )
        step, even = case.steps[-1], 1.0 / (len(loud.paths) + loud.quiet)
        fed, feed = loud.best
        kept = Evidence(
            "optimizer", Kind.WEIGHT_GRAD, "clip_coefficient", step, loud.kept, loud.apart
        )
        shares = (
            Evidence(path, Kind.WEIGHT_GRAD, "norm_share", step, share, even)
            for path, share in list(loud.share.items())[:4]
        )
        finding = self.finding(
            severity=Severity.SERIOUS,
            message=message,
            paths=loud.paths,
            source=case.source_of(loud.paths),
            evidence=(kept, *shares, Evidence(fed, Kind.UPDATE, "feed", step, feed, STARVED)),
        )
        if learns_nothing(case):
            return finding
        return replace(finding, role=Role.NOTE, severity=Severity.MILD, cause="")


def _largest_share(case: Case, step: int) -> tuple[Evidence, ...]:
    """Return the weight with the largest part of the squared norm, against an even part."""
    norms = {
        path: value_at(case, path, Kind.WEIGHT_GRAD, "norm", step)
        for path in case.readings.paths(Kind.WEIGHT_GRAD, "norm")
    }
    known = {path: norm for path, norm in norms.items() if math.isfinite(norm)}
    whole = math.hypot(*known.values())
    if whole <= 0.0:
        return ()
    path = max(known, key=lambda each: known[each])
    share, even = (known[path] / whole) ** 2, 1.0 / len(known)
    return (Evidence(path, Kind.WEIGHT_GRAD, "norm_share", step, share, even),)


RULE = ClippedAway()

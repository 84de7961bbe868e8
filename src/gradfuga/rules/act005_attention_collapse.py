"""Attention that looks at one position only, or at all alike, and cannot learn to look elsewhere.

What it finds
    Attention whose entropy is near none or near full in the last samples, while the gradient of
    its queries and keys has vanished against that of its values, or its softmax passes nothing,
    in a network that learns nothing or little; or a softmax inside the network that takes a part
    of a vanished reach.

Why it matters
    A softmax that is all or nothing passes no gradient to its scores, and one over tokens that
    have become alike has nothing to tell apart. The values go on learning, so the stream's
    gradient looks healthy: only queries and keys show it.

Evidence
    ``entropy`` over the logarithm of the number of positions, against the bounds; and
    ``query_key_gradient`` over the values', against a hundredth, or the ``jacobian_norm`` of the
    softmax, about ``1/sqrt(T)`` where it is uniform. Medians of the last samples.

Known limits
    Networks initialised at a small scale start with full entropy and weak queries, and leave
    that state as they learn: hence the last samples. Where large weights made the attention sharp,
    the few rows that are undecided have large gradients, so that only the Jacobian's mean shows
    how little passes. With queries, keys and values cut from one tensor the ratio is read where
    the pieces are, if they have gradients of their own.

References
    Dong, Cordonnier and Loukas 2021, https://arxiv.org/abs/2103.03404. Noci et al. 2022,
    https://arxiv.org/abs/2206.03126 (vanishing query and key gradients). Zhai et al. 2023,
    https://arxiv.org/abs/2303.06296 (entropy collapse).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from .._types import Axis, Evidence, Finding, Kind, Severity
from ..flow import OpRole
from ._attention import query_key_over_value
from ._blame import MOST_PATHS, AbstractBlame
from ._progress import learns_well
from ._samples import late_median, late_steps, median
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..flow import Op


@final
@dataclass(frozen=True, slots=True)
class AttentionCollapse(AbstractBlame):
    """Blames attention that is one-hot or uniform, and stuck there."""

    code: ClassVar[str] = "ACT005"
    name: ClassVar[str] = "attention-collapse"
    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})
    cause: ClassVar[str] = "attention_collapse"
    sign: ClassVar[int] = -1

    least_entropy: float = 0.1  # of ln T: nearly all weight on one position (chosen)
    most_entropy: float = 0.999  # of ln T: all positions alike (chosen)
    # Between .04, a healthy pre-LN transformer of 48 layers, and .0034, a collapsed one of 24.
    least_ratio: float = 0.01
    least_jacobian: float = 0.01  # a tenth of a uniform softmax's over 100 positions (chosen)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding: what the account says, or else the collapsed attention."""
        if blamed := self.blamed(case):
            return blamed
        if learns_well(case) or not case.progress.known:
            return ()
        collapsed = [each for op in case.graph.ops if (each := self._collapsed(case, op))]
        return (self._finding(case, collapsed),) if collapsed else ()

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The softmax at '{layer}' ({count} in all) passes little gradient: it "
            "shrinks it {factor} times, {share:.0%} of the symptom."
        )

    def _collapsed(self, case: Case, op: Op) -> tuple[Evidence, ...]:
        """Return the two readings that show the collapse of one attention, nothing without it."""
        if op.role not in (OpRole.SOFTMAX, OpRole.ATTENTION):
            return ()
        entropy = late_median(case, op.path, Kind.ACTIVATION, "entropy")
        if not math.isfinite(entropy) or self.least_entropy <= entropy <= self.most_entropy:
            return ()
        step, sharp = late_steps(case)[-1], entropy < self.least_entropy
        bound = self.least_entropy if sharp else self.most_entropy
        first = Evidence(op.path, Kind.ACTIVATION, "entropy", step, entropy, bound)
        ratio = median(query_key_over_value(case, op, each) for each in late_steps(case))
        if ratio < self.least_ratio:
            kind, statistic, limit = Kind.ACTIVATION_GRAD, "query_key_gradient", self.least_ratio
            return (first, Evidence(op.path, kind, statistic, step, ratio, limit))
        passed = late_median(case, op.path, Kind.ACTIVATION, "jacobian_norm")
        if sharp and passed < self.least_jacobian:
            kind, statistic, limit = Kind.ACTIVATION, "jacobian_norm", self.least_jacobian
            return (first, Evidence(op.path, kind, statistic, step, passed, limit))
        return ()

    def _finding(self, case: Case, collapsed: list[tuple[Evidence, ...]]) -> Finding:
        entropy, shut = collapsed[0]
        text = (
            _("The attention at '{layer}' looks at one position only (entropy {entropy} of 1)")
            if entropy.observed < self.least_entropy
            else _(
                "The attention at '{layer}' looks at all positions alike (entropy {entropy} of 1)"
            )
        )
        message = text.format(layer=entropy.path, entropy=plain(entropy.observed))
        rest = (
            _(
                ", and the gradient of its queries and keys is {number} of that of its values: it "
                "cannot learn where to look."
            )
            if shut.statistic == "query_key_gradient"
            else _(
                ", and its softmax passes next to nothing (Jacobian {number}): it cannot learn "
                "where to look."
            )
        )
        message += rest.format(number=plain(shut.observed))
        paths = tuple(pair[0].path for pair in collapsed)
        return self.finding(
            severity=Severity.SERIOUS,
            axis=Axis.DEPTH,
            message=message,
            paths=paths[:MOST_PATHS],
            source=case.source_of(paths),
            evidence=tuple(each for pair in collapsed[:2] for each in pair),
        )


RULE = AttentionCollapse()

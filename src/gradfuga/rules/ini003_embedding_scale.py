"""An embedding whose scale does not suit what reads it.

What it finds
    A normalisation right above the embedding that rescales the gradient strongly, because the
    embedding's rows are far from unit variance; or a product with another embedding whose rows
    are so small that hardly any gradient comes through, as in matrix factorisation.

Why it matters
    A normalisation divides the gradient by the size of its input. Rows that are ten times too
    large get ten times too small a gradient, and rows that are too small are thrown about by
    their first updates. In a product each factor's gradient is multiplied by the other factor.

Evidence
    ``sigma_gain`` of that normalisation at the blamed step, against 1; and the claim on the
    reach, in decades.

Known limits
    Only the rows that a batch touches have a gradient. An embedding that is tied to the output
    layer serves two ends, and a scale that suits one may not suit the other.

References
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 (embeddings times sqrt(d)). Xiong et al.
    2020, https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Finding, Kind, Role
from ..flow import OpRole
from ._blame import find_blame, finding_of, without_claim
from ._words import times

if TYPE_CHECKING:
    from ..analysis.case import Case


@final
@dataclass(frozen=True, slots=True)
class EmbeddingScale(AbstractRule):
    """Blames the scale of the embedding."""

    code: ClassVar[str] = "INI003"
    name: ClassVar[str] = "embedding-scale"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "embedding_scale"

    limit: float = 1.30  # decades: six depth scales (Schoenholz et al. 2017)
    least_share: float = 0.05  # of the symptom (chosen: what alignment alone may amount to)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding with the ops that claim most."""
        blame = find_blame(case, self.cause, limit=self.limit, least_share=self.least_share)
        if blame is None:
            return ()
        evidence = without_claim(case, blame, Kind.ACTIVATION, "sigma_gain")
        message = _(
            "The embedding below '{layer}' is of the wrong size for what reads it: that changes "
            "its gradient {factor} times, {share:.0%} of the symptom."
        ).format(
            layer=blame.paths[0],
            count=len(blame.paths),
            factor=times(blame.decades),
            share=blame.share,
        )
        # what reads the embedding is blamed, and the embedding is what can be drawn anew
        tables = [op.path for op in case.graph.ops if op.role is OpRole.EMBEDDING]
        where = replace(blame, paths=tuple(dict.fromkeys((*blame.paths, *tables))))
        return (finding_of(self, case, where, message, evidence=evidence, built=True),)


RULE = EmbeddingScale()

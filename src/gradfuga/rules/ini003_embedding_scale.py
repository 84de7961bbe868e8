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

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._messages import _
from .._types import Kind
from ..flow import OpRole
from ._blame import AbstractBlame, without_claim

if TYPE_CHECKING:
    from .._types import Evidence
    from ..analysis.case import Case
    from ._blame import Blame


@final
@dataclass(frozen=True, slots=True)
class EmbeddingScale(AbstractBlame):
    """Blames the scale of the embedding."""

    code: ClassVar[str] = "INI003"
    name: ClassVar[str] = "embedding-scale"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "embedding_scale"
    built: ClassVar[bool] = True

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "The embedding below '{layer}' is of the wrong size for what reads it: that changes "
            "its gradient {factor} times, {share:.0%} of the symptom."
        )

    def evidence(self, case: Case, blame: Blame) -> tuple[Evidence, ...]:
        """Return the readings against what they would be without the claim."""
        return without_claim(case, blame, Kind.ACTIVATION, "sigma_gain")

    def where(self, case: Case, blame: Blame) -> tuple[str, ...]:
        """Return what reads the embedding, and the embedding, which is what can be drawn anew."""
        tables = (op.path for op in case.graph.ops if op.role is OpRole.EMBEDDING)
        return tuple(dict.fromkeys((*blame.paths, *tables)))


RULE = EmbeddingScale()

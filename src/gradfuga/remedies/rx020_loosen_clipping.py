"""Clip outliers only.

What it changes
    ``max_norm`` of the clipping goes to the usual norm of the gradient or a few times that. Where
    a few layers use up the bound, they are to be clipped apart from the others instead.

Why it helps
    Ordinary steps keep their length; only the rare long one is cut.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes. Steps become longer:
    lower the learning rate if the loss jumps.

Known limits
    Clipping is loosened where torch does it; a bound that the script works out by itself is advice.
    It treats ``clipped_away``. It does not treat an exploding gradient, which may be why the bound
    was set.

References
    Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, LoosenClipping, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class RaiseClippingBound(AbstractRemedy):
    """Raises the clipping bound."""

    code: ClassVar[str] = "RX020"
    name: ClassVar[str] = "loosen-clipping"
    treats: ClassVar[frozenset[str]] = frozenset({"clipped_away"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Raise the clipping bound")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit with the factor that is missing, in one digit."""
        if not named(diagnosis, self.treats):
            return ()
        blamed = (finding for finding in diagnosis.findings if finding.cause in self.treats)
        loud = tuple(path for finding in blamed for path in finding.paths)
        if loud:  # a looser bound would let them loose, too
            apart = _(
                "Clip '{layer}' apart: one clip_grad_norm_ for its parameters, one for all others."
            )
            return tuple(Advise(apart.format(layer=layer)) for layer in loud)
        seen = evidence_of(diagnosis, "clipped_away", "clip_coefficient")
        if not seen or not 0.0 < seen[0].observed < 1.0:
            return (Advise(_("Raise max_norm to the usual norm of the gradient.")),)
        return (LoosenClipping(float(f"{1.0 / seen[0].observed:.0e}")),)


REMEDY = RaiseClippingBound()

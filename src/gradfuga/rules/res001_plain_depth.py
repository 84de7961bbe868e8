"""So many layers that even sound ones lose the gradient, without a skip connection.

What it finds
    Layers of which each is as good as critical by itself, and which together change the gradient
    by more than the limit; and normalisations that amplify it a little in every layer.

Why it matters
    Twenty layers at a gain of 0.86 lose 1.3 decades. BatchNorm without a skip connection gains
    21 % with every ReLU layer, which is four decades in fifty. A skip connection hands the
    gradient on as it is.

Evidence
    The claim on the reach, in decades: the sum over pairs of layer and activation that are within
    0.065 decades of critical, and over normalisations netted with their layer.

Known limits
    Where each pair is farther from critical, the initialisation or the activation is blamed
    instead, although a skip connection would help there too.

References
    He et al. 2016, https://arxiv.org/abs/1512.03385. Yang et al. 2019,
    https://arxiv.org/abs/1902.08129 (BatchNorm without skip explodes). Balduzzi et al. 2017,
    https://arxiv.org/abs/1702.08591.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from .._messages import _
from ._blame import AbstractBlame


@final
@dataclass(frozen=True, slots=True)
class PlainDepth(AbstractBlame):
    """Blames depth itself."""

    code: ClassVar[str] = "RES001"
    name: ClassVar[str] = "plain-depth"
    needs: ClassVar[frozenset[str]] = frozenset({"norm"})
    cause: ClassVar[str] = "plain_depth"

    @property
    def message(self) -> str:
        """What to say of the ops that claim most."""
        return _(
            "No layer is at fault by itself, but {count} of them in a row, from '{layer}' on, "
            "change the gradient {factor} times, {share:.0%} of the symptom; no skip connection "
            "hands it on."
        )


RULE = PlainDepth()

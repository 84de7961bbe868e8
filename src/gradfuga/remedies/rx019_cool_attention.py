"""Normalise queries and keys, so that the softmax stays soft.

What it changes
    Queries and keys go through a LayerNorm or RMSNorm of their own before their product
    (qk-norm); the product is divided by sqrt(d) if it was not.

Why it helps
    The scores are bounded, so no position can take all of the weight, and the softmax passes
    gradient to where the attention looks.

Safety
    Advice: the network computes another function afterwards.

Known limits
    It treats ``attention_collapse``. It does not treat the opposite collapse, tokens that have
    become alike: that wants skip connections around the attention, and a pre-LN block.

References
    Henry et al. 2020, https://arxiv.org/abs/2010.04245. Dehghani et al. 2023,
    https://arxiv.org/abs/2302.05442. Dong, Cordonnier and Loukas 2021,
    https://arxiv.org/abs/2103.03404.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named, places

_HALF = 0.5  # of the full entropy: above, all positions are looked at alike


@final
class CoolAttention(AbstractRemedy):
    """Keeps the softmax soft."""

    code: ClassVar[str] = "RX019"
    name: ClassVar[str] = "cool-attention"
    treats: ClassVar[frozenset[str]] = frozenset({"attention_collapse"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Keep the attention's scores in bounds")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit that fits the kind of collapse."""
        if not named(diagnosis, self.treats):
            return ()
        where = places(diagnosis, self.treats)

        readings = evidence_of(diagnosis, "attention_collapse", "entropy")
        if readings and readings[0].observed > _HALF:
            action = _(
                "The tokens have become alike: keep a skip connection around each attention and "
                "normalize before it: {code}"
            ).format(code="x = x + attention(nn.LayerNorm(d)(x))")
        else:
            action = _("Normalize queries and keys before their product: {code}").format(
                code="q, k = nn.LayerNorm(head_dim)(q), nn.LayerNorm(head_dim)(k)"
            )
        return (Advise(action, where),)


REMEDY = CoolAttention()

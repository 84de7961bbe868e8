"""Give layers with a small gradient a larger learning rate.

What it changes
    Each layer of the main line gets its own learning rate: as many times the common one as its
    gradient is smaller than that of the output.

Why it helps
    The layers learn at comparable pace without a change to the network: the mild treatment,
    where nothing else may change.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It treats ``plain_depth`` and ``small_init``. It does not treat what shrinks the gradient, and
    brings nothing back: where the gradient is more than a hundred times smaller, it is not
    prescribed, since the noise would be amplified with the signal. An adaptive optimizer does this
    by itself.

References
    Singh et al. 2015, https://arxiv.org/abs/1510.04609 (layer-specific rates).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetLayerRates
from .._messages import _
from .._types import Diagnosis
from ._where import adaptive, named

_MOST = 100.0  # chosen: two decades, what a step of SGD can bear


@final
class SetLayerwiseRates(AbstractRemedy):
    """Balances the layers' rates."""

    code: ClassVar[str] = "RX060"
    name: ClassVar[str] = "set-layer-rates"
    treats: ClassVar[frozenset[str]] = frozenset({"plain_depth", "small_init"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Give starved layers a larger learning rate")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the rates, where the depth profile was read."""
        if not named(diagnosis, self.treats):
            return ()
        starved = {
            path: 10.0**-reach
            for path, reach in zip(diagnosis.depth.path, diagnosis.depth.reach, strict=True)
            if reach < 0.0
        }
        if not starved or adaptive(diagnosis):
            return ()
        if min(diagnosis.depth.reach) < -math.log10(_MOST):
            return ()  # rates cannot bring back what is lost there
        return (SetLayerRates(tuple(starved.values()), tuple(starved)),)


REMEDY = SetLayerwiseRates()

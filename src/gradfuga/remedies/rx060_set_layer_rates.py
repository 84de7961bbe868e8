"""Give layers with a small gradient a larger learning rate.

What it changes
    Each layer of the main line gets its own learning rate: as many times the common one as its
    gradient is smaller than that of the output, a hundred times at most.

Why it helps
    The layers learn at comparable pace without a change to the network: the mild treatment,
    where nothing else may change.

Safety
    Safe: the model's outputs stay as they are; only how it is trained changes.

Known limits
    It does not bring back what is lost: beyond two decades the cap holds, and the noise is
    amplified with the signal. An adaptive optimizer does this by itself.

References
    Singh et al. 2015, https://arxiv.org/abs/1510.04609 (layer-specific rates).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetLayerRates
from .._messages import _
from .._types import Diagnosis
from ._where import named

_MOST = 100.0  # chosen: two decades, what a step of SGD can bear
_ADAPTIVE = ("Adam", "RMSprop", "NAdam", "RAdam", "Adagrad")


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
            path: min(10.0**-reach, _MOST)
            for path, reach in zip(diagnosis.depth.path, diagnosis.depth.reach, strict=True)
            if reach < 0.0
        }
        if not starved or diagnosis.run.optimizer.startswith(_ADAPTIVE):
            return ()
        return (SetLayerRates(tuple(starved.values()), tuple(starved)),)


REMEDY = SetLayerwiseRates()

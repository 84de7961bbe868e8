"""Let units pass a little gradient where they are off.

What it changes
    ``nn.ReLU()`` becomes ``nn.LeakyReLU(0.1)`` or ``nn.GELU()``, and biases that start below zero
    start at zero.

Why it helps
    A unit that is off for every example gets no gradient from a ReLU and can never come back. With
    a slope of a tenth it does.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``dead_relu``. It does not treat the rate that killed the units. A learning rate that
    killed the units kills them again: lower it too. Units that are off for most examples, not all,
    are no illness.

References
    Maas, Hannun and Ng 2013, Rectifier nonlinearities improve neural network acoustic models. Lu,
    Shin, Su and Karniadakis 2019, https://arxiv.org/abs/1903.06733.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetBias, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import hidden_layers, named, places


@final
class ReviveRelu(AbstractRemedy):
    """Gives dead units a slope."""

    code: ClassVar[str] = "RX011"
    name: ClassVar[str] = "revive-relu"
    treats: ClassVar[frozenset[str]] = frozenset({"dead_relu"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Give the dead units a slope")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the leak and the biases."""
        if not named(diagnosis, self.treats):
            return ()
        return (
            SwapActivation("leaky_relu", of="relu", paths=places(diagnosis, self.treats)),
            SetBias(0.0, paths=hidden_layers(diagnosis)),
        )


REMEDY = ReviveRelu()

"""Bring every input feature to mean zero and unit spread.

What it changes
    The data, once, before training: minus the mean, over the standard deviation, both from the
    training set.

Why it helps
    A first layer that is made for inputs of unit size saturates at a hundred times that, and costs
    a tanh network 1.3 decades by itself. Features of equal spread also make the loss rounder.

Safety
    Advice: the same mean and deviation must be used for every later input.

Known limits
    It does not treat saturation that large weights make deeper in the network: initialise for the
    activation instead.

References
    LeCun et al. 1998, Efficient BackProp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class StandardizeInputs(AbstractRemedy):
    """Brings the inputs to unit size."""

    code: ClassVar[str] = "RX013"
    name: ClassVar[str] = "standardize-inputs"
    treats: ClassVar[frozenset[str]] = frozenset({"saturated_activation"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Standardize the inputs")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        action = _("Standardize the inputs with the training set's numbers: {code}").format(
            code="x = (x - x_train.mean(0)) / x_train.std(0).clamp_min(1e-8)"
        )
        return (Advise(action, places(diagnosis, self.treats)),)


REMEDY = StandardizeInputs()

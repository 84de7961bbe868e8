"""Bring every input feature to mean zero and unit spread.

What it changes
    The data, once, before training: minus the mean, over the standard deviation, both from the
    training set.

Why it helps
    A first layer that is made for inputs of unit size saturates at a hundred times that, and costs
    a tanh network 1.3 decades by itself. Features of equal spread also make the loss rounder.

Safety
    Unsafe: the network sees other inputs, and must see them in use too.

Known limits
    It treats ``saturated_activation``, and ``learning_rate_too_high`` where the data is large: a
    gradient grows with what goes in, and the step with it. It does not treat saturation that
    large weights make deeper in the network: initialise for the activation instead.

References
    LeCun et al. 1998, Efficient BackProp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, StandardizeInput
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class StandardizeInputs(AbstractRemedy):
    """Brings the inputs to unit size."""

    code: ClassVar[str] = "RX013"
    name: ClassVar[str] = "standardize-inputs"
    treats: ClassVar[frozenset[str]] = frozenset({"saturated_activation", "learning_rate_too_high"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Standardize the inputs")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        large = named(diagnosis, ("learning_rate_too_high",)) and evidence_of(
            diagnosis, "learning_rate_too_high", "input_rms"
        )
        if not large and not named(diagnosis, ("saturated_activation",)):
            return ()
        return (StandardizeInput(),)


REMEDY = StandardizeInputs()

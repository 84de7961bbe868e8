"""Let the loss undo the slope of the output.

What it changes
    The sigmoid or softmax at the end of the model goes, and the squared error becomes
    ``nn.BCEWithLogitsLoss`` or ``nn.CrossEntropyLoss``, which take the logits as they are.

Why it helps
    Cross entropy divides by the very slope that the sigmoid multiplies with: the gradient at the
    logits is prediction minus target, largest where the answer is sure and wrong.

Safety
    Safe: the model's outputs stay as they are; the loss is another one.

Known limits
    It treats ``saturated_output``. It does not treat hidden layers that saturate. Targets that are
    no probabilities stay with the squared error: then take the sigmoid away alone.

References
    Bishop 1995, Neural Networks for Pattern Recognition, chapter 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, UseLogits
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class HandLogits(AbstractRemedy):
    """Matches the loss to the output."""

    code: ClassVar[str] = "RX012"
    name: ClassVar[str] = "use-logits"
    treats: ClassVar[frozenset[str]] = frozenset({"saturated_output"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Hand logits to a matching loss")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit for two classes and for more."""
        if not named(diagnosis, self.treats):
            return ()
        return (UseLogits(paths=places(diagnosis, self.treats)),)


REMEDY = HandLogits()

"""Let the loss undo the slope of the output.

What it changes
    The sigmoid or softmax at the end of the model goes, and the squared error becomes
    ``nn.BCEWithLogitsLoss`` or ``nn.CrossEntropyLoss``, which take the logits as they are.

Why it helps
    Cross entropy divides by the very slope that the sigmoid multiplies with: the gradient at the
    logits is prediction minus target, largest where the answer is sure and wrong.

Safety
    Advice: the loss has another scale, and the model returns logits; take ``torch.sigmoid`` of
    them where probabilities are wanted.

Known limits
    It does not treat hidden layers that saturate. Targets that are no probabilities stay with the
    squared error: then take the sigmoid away alone.

References
    Bishop 1995, Neural Networks for Pattern Recognition, chapter 6.
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
class UseLogits(AbstractRemedy):
    """Matches the loss to the output."""

    code: ClassVar[str] = "RX012"
    name: ClassVar[str] = "use-logits"
    treats: ClassVar[frozenset[str]] = frozenset({"saturated_output"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Hand logits to a matching loss")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit for two classes and for more."""
        if not named(diagnosis, self.treats):
            return ()
        where = places(diagnosis, self.treats)

        two = _("For two classes: {code}").format(
            code="loss = nn.BCEWithLogitsLoss()(logits, target)  # no nn.Sigmoid() at the end"
        )
        many = _("For more classes: {code}").format(
            code="loss = nn.CrossEntropyLoss()(logits, labels)  # no nn.Softmax() at the end"
        )
        return (Advise(two, where), Advise(many, where))


REMEDY = UseLogits()

"""Write the loss as it is meant.

What it changes
    The line of the loss: its sign, what it is handed, or the shape of its targets.

Why it helps
    A loss that falls as the answers get worse trains them to be wrong, however well the gradient
    flows; so does one that is handed something else than it expects.

Safety
    Advice: what the loss is meant to be only its author knows.

Known limits
    It treats ``data_or_labels`` where the loss is found to be wrong. It does not treat labels that
    are wrong in the data.

References
    PyTorch documentation of ``torch.nn.CrossEntropyLoss`` and ``torch.nn.NLLLoss``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import faults_of_the_loss, named


@final
class CorrectLoss(AbstractRemedy):
    """Says what to write instead of the loss."""

    code: ClassVar[str] = "RX065"
    name: ClassVar[str] = "correct-loss"
    treats: ClassVar[frozenset[str]] = frozenset({"data_or_labels"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Correct the loss")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return what to write, for each fault that was found."""
        if named(diagnosis, self.treats):
            for fault in faults_of_the_loss(diagnosis):
                yield Advise(_INSTEAD[fault]())


def _same_shape() -> str:
    return _("Give the targets the shape of the predictions before the loss: {code}").format(
        code="y = y.view_as(prediction)"
    )


def _other_sign() -> str:
    return _("Turn the sign of the loss: {code}").format(code="loss = -loss")


def _logits() -> str:
    return _("Hand the last layer's outputs to cross_entropy: {code}").format(
        code="loss = F.cross_entropy(logits, y)"
    )


# what to write, by what a rule shows of the loss
_INSTEAD = {"pairs": _same_shape, "reversed_loss": _other_sign, "log_total": _logits}


REMEDY = CorrectLoss()

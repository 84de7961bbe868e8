"""Use an optimizer that forgets its first gradients.

What it changes
    Adagrad becomes RMSprop or Adam, which divide by a mean over recent steps instead of the sum
    over all; or its first steps are clipped, so that no spike fills the sum.

Why it helps
    Steps have the learning rate's own length again, whatever happened at the start.

Safety
    Advice: only the optimizer changes.

Known limits
    It treats ``learning_rate_too_low``. It does not treat a rate that was too low from the first
    step. For sparse features Adagrad's memory is what one wants; clip there.

References
    Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class ReplaceAdagrad(AbstractRemedy):
    """Lets the optimizer forget its first gradients."""

    code: ClassVar[str] = "RX026"
    name: ClassVar[str] = "replace-adagrad"
    treats: ClassVar[frozenset[str]] = frozenset({"learning_rate_too_low"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Use an optimizer that forgets")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits where Adagrad's sum shortens the steps."""
        if not named(diagnosis, self.treats):
            return ()
        if not evidence_of(diagnosis, "learning_rate_too_low", "adagrad_share"):
            return ()
        action = _("Divide by a mean that forgets: {code}").format(
            code="torch.optim.Adam(model.parameters(), lr=1e-3)"
        )
        clipped = _("Or clip the gradient from the first step on, and start anew.")
        return (Advise(action), Advise(clipped))


REMEDY = ReplaceAdagrad()

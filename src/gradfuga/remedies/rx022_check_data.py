"""Find out whether inputs and targets belong together.

What it changes
    Nothing in the model. Some batches are looked at right before they go into it, with their
    targets, and a small set is learned by heart.

Why it helps
    Shuffled labels, a wrong column, an augmentation that goes too far and NaN values are seen
    with the eye in a minute, and by no statistic of the gradient.

Safety
    Advice: nothing is changed.

Known limits
    It treats ``data_or_labels``, except where the loss is found to be wrong. It does not treat a
    path that carries no gradient: that is found first. A network can learn any labels by heart:
    that it does so shows that the path works, not that the labels are right.

References
    Karpathy 2019, A Recipe for Training Neural Networks,
    https://karpathy.github.io/2019/04/25/recipe/. Zhang et al. 2017,
    https://arxiv.org/abs/1611.03530.
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
class CheckData(AbstractRemedy):
    """Asks for a look at the data."""

    code: ClassVar[str] = "RX022"
    name: ClassVar[str] = "check-data"
    treats: ClassVar[frozenset[str]] = frozenset({"data_or_labels"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Look at the data as the model sees it")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return two looks at the data."""
        if not named(diagnosis, self.treats) or faults_of_the_loss(diagnosis):
            return ()  # no look at the data shows what the loss makes of it
        look = _(
            "Look at ten examples with their targets right before the model sees them: {code}"
        ).format(code="print(x[:10], y[:10], torch.isfinite(x).all())")
        heart = _(
            "Learn sixteen examples by heart: if that works, the path is sound and the data is "
            "suspect."
        )
        return (Advise(look), Advise(heart))


REMEDY = CheckData()

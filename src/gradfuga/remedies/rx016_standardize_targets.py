"""Bring the targets of a regression to mean zero and unit spread.

What it changes
    The targets, before training: minus the mean, over the standard deviation, both from the
    training set. Predictions are scaled back.

Why it helps
    The network starts with answers of order one. The targets are then as near, no step has to be
    long, and the learning rates that people use fit.

Safety
    Advice: the loss is in other units; predictions must be scaled back.

Known limits
    It treats ``target_scale``. It does not treat inputs of a wrong scale. Heavy-tailed targets,
    such as prices, want their logarithm first.

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
from ._where import named

_RULE = "FLW004"  # its second path is an activation at the output that ends at 1


@final
class StandardizeTargets(AbstractRemedy):
    """Brings the targets to unit size."""

    code: ClassVar[str] = "RX016"
    name: ClassVar[str] = "standardize-targets"
    treats: ClassVar[frozenset[str]] = frozenset({"target_scale"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Standardize the targets")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return what is in the way, the edit, and the way back."""
        if not named(diagnosis, self.treats):
            return
        bound = self._bound_of(diagnosis)
        if bound:
            free = _("Leave the activation at '{layer}' out: it ends at 1.").format(layer=bound)
            yield Advise(free)
        action = _("Train on standardized targets: {code}").format(
            code="y = (y - y_train.mean(0)) / y_train.std(0)"
        )
        back = _("And scale predictions back: {code}").format(
            code="prediction = model(x) * y_train.std(0) + y_train.mean(0)"
        )
        yield Advise(action)
        yield Advise(back)

    def _bound_of(self, diagnosis: Diagnosis) -> str:
        """Return the path of the activation that the rule found at the output, "" for none."""
        paths = [each.paths for each in diagnosis.findings if each.code == _RULE]
        return paths[0][1] if paths and len(paths[0]) > 1 else ""


REMEDY = StandardizeTargets()

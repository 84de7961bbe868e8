"""Start every residual branch at zero, with a factor that is learned.

What it changes
    ``x + f(x)`` becomes ``x + a * f(x)`` with one parameter a a branch, zero at first
    (SkipInit, ReZero).

Why it helps
    At the start the network hands the gradient on exactly, however deep it is; each branch
    opens as far as it is of use.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``unscaled_residual``. Inside a branch the gradient is exactly zero at the first step;
    that is as it should be. Only branches that end in a layer or a normalization are found. It does
    not treat activations on the main line.

References
    De and Smith 2020, https://arxiv.org/abs/2002.10444. Bachlechner et al. 2020,
    https://arxiv.org/abs/2003.04887.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, ScaleBranch
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class StartBranchesAtZero(AbstractRemedy):
    """Starts residual branches at zero."""

    code: ClassVar[str] = "RX048"
    name: ClassVar[str] = "start-branches-at-zero"
    treats: ClassVar[frozenset[str]] = frozenset({"unscaled_residual"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Start the residual branches at zero")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit."""
        if not named(diagnosis, self.treats):
            return ()
        return (ScaleBranch(0.0, learned=True, paths=places(diagnosis, self.treats)),)


REMEDY = StartBranchesAtZero()

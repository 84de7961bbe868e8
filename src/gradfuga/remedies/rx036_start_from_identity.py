"""Start the recurrent matrix as the identity.

What it changes
    The hidden-to-hidden weight becomes the identity, with biases of zero (IRNN).

Why it helps
    A ReLU that is on hands its state on unchanged. An orthogonal matrix mixes the units, so that
    a ReLU cuts half of them away in each step, and the state fades where it had exploded before.

Safety
    Unsafe: the network starts as another one; trained weights are lost.

Known limits
    It treats ``recurrent_expansion``. It does not treat gates. Training may leave the identity,
    upward too: clip the gradient beside it. With tanh an orthogonal matrix does as well.

References
    Le, Jaitly and Hinton 2015, https://arxiv.org/abs/1504.00941.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class StartFromIdentity(AbstractRemedy):
    """Makes the recurrence hand its state on."""

    code: ClassVar[str] = "RX036"
    name: ClassVar[str] = "start-from-identity"
    treats: ClassVar[frozenset[str]] = frozenset({"recurrent_expansion"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Start the recurrent matrix as the identity")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        return (Initialize("identity", recurrent=True, paths=places(diagnosis, self.treats)),)


REMEDY = StartFromIdentity()

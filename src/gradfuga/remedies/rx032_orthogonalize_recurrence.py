"""Start the recurrent matrix where it keeps lengths.

What it changes
    The hidden-to-hidden weight is drawn orthogonal, with biases of zero. A ReLU takes
    the identity instead.

Why it helps
    All singular values are one, so that a step neither shrinks nor enlarges the gradient: an
    identity ReLU network keeps .9955 a step, an orthogonal tanh network .91 with inputs of unit
    size, against .58 by default (measured, H = 128).

Safety
    Unsafe: the network starts as another one; trained weights are lost.

Known limits
    It treats ``recurrent_contraction`` and ``recurrent_expansion``. It does not treat gates. The
    slopes of tanh still shrink what large inputs saturate: beyond 73 steps it is not prescribed,
    and where inputs fill the state it reaches 27 (.78 a step, measured, H = 32). Training may leave
    the orthogonal matrices: `torch.nn.utils.parametrizations.orthogonal` keeps it there.

References
    Le, Jaitly and Hinton 2015, https://arxiv.org/abs/1504.00941. Arjovsky, Shah and Bengio 2016,
    https://arxiv.org/abs/1511.06464.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety
from .._messages import _
from .._types import Diagnosis
from ._where import lag_needed, main_cause, named, places

_FAR = 73.0  # steps: an orthogonal tanh network keeps .91 a step at best


@final
class OrthogonalizeRecurrence(AbstractRemedy):
    """Makes the recurrent matrix keep lengths."""

    code: ClassVar[str] = "RX032"
    name: ClassVar[str] = "orthogonalize-recurrence"
    treats: ClassVar[frozenset[str]] = frozenset({"recurrent_contraction", "recurrent_expansion"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Initialise the recurrent matrix orthogonally")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit at the recurrence, where its cause is named."""
        if not named(diagnosis, self.treats):
            return ()
        if lag_needed(diagnosis) > _FAR and main_cause(diagnosis) == "recurrent_contraction":
            return ()  # the slopes of tanh do not let it reach so far
        where = places(diagnosis, self.treats)
        return (Initialize("orthogonal", recurrent=True, paths=where),)


REMEDY = OrthogonalizeRecurrence()

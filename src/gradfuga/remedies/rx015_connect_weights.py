"""Give weights that are held back a gradient and a place in the optimizer.

What it changes
    ``requires_grad`` of the frozen weights; the ``detach()``, ``no_grad`` or ``.data`` on the way
    between them and the loss; the parameters that the optimizer was given.

Why it helps
    A weight learns if it requires a gradient, the loss depends on it through the tape, and the
    optimizer holds it. One of the three is missing.

Safety
    Safe: no weight changes. What cuts the tape is for you to find.

Known limits
    It treats ``disconnected`` and ``frozen``. It does not treat weights that get a gradient and
    hardly move. Weights that are frozen on purpose stay so; give the head something to learn from
    instead.

References
    PyTorch documentation, Autograd mechanics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Advise, Edit, Safety, Unfreeze
from .._messages import _
from .._types import Diagnosis
from ._where import named, places


@final
class ConnectWeights(AbstractRemedy):
    """Lets weights train that are held back."""

    code: ClassVar[str] = "RX015"
    name: ClassVar[str] = "connect-weights"
    treats: ClassVar[frozenset[str]] = frozenset({"frozen", "disconnected"})
    safety: ClassVar[Safety] = Safety.SAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Let the weights train")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return an edit for each way in which the weights are held back."""
        if not named(diagnosis, self.treats):
            return ()
        edits: list[Edit] = []
        if named(diagnosis, ("disconnected",)):
            where = places(diagnosis, ("disconnected",))
            edits += [
                Advise(
                    _(
                        "Take away what cuts the tape between these weights and the loss: "
                        "detach(), .data, torch.no_grad(), NumPy."
                    ),
                    where,
                ),
                Advise(
                    _(
                        "Build the optimizer after the model, from the model that is trained: "
                        "{code}"
                    ).format(code="torch.optim.Adam(model.parameters(), lr=...)"),
                    where,
                ),
            ]
        if named(diagnosis, ("frozen",)):
            edits.append(Unfreeze(places(diagnosis, ("frozen",))))
        return tuple(edits)


REMEDY = ConnectWeights()

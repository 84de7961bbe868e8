"""Keep the sigmoid, stretched and shifted until it passes signal and gradient.

What it changes
    Every hidden sigmoid becomes ``4.7226 * sigmoid(z) - 2.181``, and the weights are drawn with
    variance 1 / fan_in (LeCun). The two numbers follow from the sigmoid's Gaussian moments.

Why it helps
    At unit variance the slope and the output are then both of unit size, so neither gradient
    nor signal changes from layer to layer. It is the one repair that keeps the sigmoid and
    needs neither normalisation nor skip connections: twenty layers go from -16 decades to -0.1.

Safety
    Unsafe: the network computes another function afterwards, and must be trained anew.

Known limits
    It treats ``contracting_activation``. It does not treat other activations than the sigmoid. The
    steps become longer: lower the learning rate if the loss jumps. Without the initialisation it
    does not help. Sigmoids that are gates, or give a probability, must stay as they are.

References
    Lu, Gould and Ajanthan 2020, https://arxiv.org/abs/2006.12169.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Initialize, Safety, SwapActivation
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, gated, hidden_layers, main_cause, places

_SIGMOID = 1.0 / 16.0  # a sigmoid's squared slope is a sixteenth at most


@final
class NormalizeSigmoid(AbstractRemedy):
    """Normalizes the sigmoid."""

    code: ClassVar[str] = "RX040"
    name: ClassVar[str] = "normalize-sigmoid"
    treats: ClassVar[frozenset[str]] = frozenset({"contracting_activation"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Keep the sigmoid, and normalize it")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the stretched activation with its initialization."""
        if main_cause(diagnosis) not in self.treats or gated(diagnosis):
            return ()
        slopes = evidence_of(diagnosis, "contracting_activation", "mean_squared_slope")
        if any(each.observed > _SIGMOID for each in slopes):
            return ()  # it is no sigmoid
        return (
            SwapActivation(
                "sigmoid", of="sigmoid", normalized=True, paths=places(diagnosis, self.treats)
            ),
            Initialize("fan_in", 1.0, paths=hidden_layers(diagnosis)),
        )


REMEDY = NormalizeSigmoid()

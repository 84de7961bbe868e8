"""Find the op whose gradient is not finite.

What it changes
    One backward pass runs under anomaly detection, which names the op; then that op is computed
    where it is finite: in float32, with a clamp before a root, a logarithm or a division, or with a
    mask applied before it and not after.

Why it helps
    No loss scale makes an infinite gradient finite. Once the op is mended the scaler steps again.

Safety
    Advice: the run that looks for the op is slow; it is one step long.

Known limits
    It treats ``precision_underflow``. It does not treat gradients that are too small. An overflow
    in the forward pass shows as a loss that is not finite, and is another illness.

References
    https://docs.pytorch.org/docs/stable/autograd.html (anomaly detection).
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
class FindBrokenGradient(AbstractRemedy):
    """Finds what makes a scaler skip every step."""

    code: ClassVar[str] = "RX025"
    name: ClassVar[str] = "find-broken-gradient"
    treats: ClassVar[frozenset[str]] = frozenset({"precision_underflow"})
    safety: ClassVar[Safety] = Safety.ADVICE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Find the op whose gradient is not finite")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edits where a scaler skips most steps."""
        if not named(diagnosis, self.treats):
            return ()
        if not evidence_of(diagnosis, "precision_underflow", "skipped_share"):
            return ()
        action = _("Let one step name the op whose gradient is not finite: {code}").format(
            code="torch.autograd.set_detect_anomaly(True)"
        )
        mended = _("Compute that op in float32, or keep its input away from where it has no slope.")
        return (Advise(action), Advise(mended))


REMEDY = FindBrokenGradient()

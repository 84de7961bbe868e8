"""Compute in a format with the range of float32.

What it changes
    Autocast to float16 becomes autocast to bfloat16.

Why it helps
    bfloat16 has eight bits of exponent, as float32: a gradient of 1e-30 does not underflow, and
    no loss scale is needed.

Safety
    Unsafe: the arithmetic is another one, to within the rounding of its format.

Known limits
    It treats ``precision_underflow``. It has three bits less of mantissa than float16. It does not
    treat weights that are kept in bfloat16 and swallow small updates.

References
    Kalamkar et al. 2019, https://arxiv.org/abs/1905.12322.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

from .._contracts import AbstractRemedy
from .._edits import Edit, Safety, SetPrecision
from .._messages import _
from .._types import Diagnosis
from ._where import evidence_of, named


@final
class WidenRange(AbstractRemedy):
    """Changes the half format."""

    code: ClassVar[str] = "RX061"
    name: ClassVar[str] = "widen-range"
    treats: ClassVar[frozenset[str]] = frozenset({"precision_underflow"})
    safety: ClassVar[Safety] = Safety.UNSAFE

    @property
    def title(self) -> str:
        """Say in one line what the remedy does."""
        return _("Compute in bfloat16")

    def prescribe(self, diagnosis: Diagnosis) -> Iterable[Edit]:
        """Return the edit, unless a scaler skips the steps."""
        if not named(diagnosis, self.treats):
            return ()
        if evidence_of(diagnosis, "precision_underflow", "skipped_share"):
            return ()
        return (SetPrecision("bfloat16"),)


REMEDY = WidenRange()

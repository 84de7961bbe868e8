"""Data of another size than networks are made for, where the first layer takes it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._types import Evidence, Kind
from ._samples import value_at

if TYPE_CHECKING:
    from ..analysis.case import Case

LARGEST = 10.0  # root mean square of the data: one order above standardized (chosen)


def raw_inputs(case: Case, step: int) -> Evidence | None:
    """Return the size of what goes into the first layer at `step`; None where it is usual."""
    if not case.layers:
        return None
    first = case.op_of(case.layers[-1])
    size = value_at(case, first.path, Kind.ACTIVATION, "input_rms", step)
    if not size > LARGEST:
        return None
    return Evidence(first.path, Kind.ACTIVATION, "input_rms", step, size, 1.0)

"""The readings of one sampled step, as the account asks for them."""

from __future__ import annotations

import math
from typing import final

from .._types import Kind
from ..flow import Op
from ..readings import Readings


@final
class StepValues:
    """The readings of one step by op, with None where something was not recorded."""

    def __init__(self, readings: Readings, step: int) -> None:
        self._readings, self._step = readings, step

    def get(self, op: Op, kind: Kind, statistic: str) -> float | None:
        """Return a statistic of an op's own path."""
        return self.at(op.path, kind, statistic)

    def at(self, path: str, kind: Kind, statistic: str) -> float | None:
        """Return a statistic recorded at `path`, None where it is not finite either."""
        value = self._readings.at(self._step, path, kind, statistic)
        return value if value is not None and math.isfinite(value) else None

    def scale(self, path: str) -> float | None:
        """Return ``|W|_F / sqrt(n_out)`` of a weight."""
        norm = self.at(path, Kind.WEIGHT, "norm")
        rows = next((p.shape[0] for p in self._readings.record.parameters if p.path == path), 0)
        return norm / math.sqrt(rows) if norm is not None and rows else None

    def log_norm(self, op: Op) -> float | None:
        """Return log10 of the gradient's norm at an op, None where it is zero."""
        value = self.get(op, Kind.ACTIVATION_GRAD, "norm")
        return math.log10(value) if value is not None and value > 0.0 else None

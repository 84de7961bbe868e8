"""Write readings as Parquet parts of a run folder that any tool can read."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from .._contracts import AbstractSink
from ..readings import Readings, write_manifest, write_part


@final
class ParquetSink(AbstractSink):
    """Each batch becomes one part, written whole or not at all; then graph and manifest."""

    code: ClassVar[str] = "parquet"

    def write(self, batch: Readings, folder: Path, number: int) -> None:
        """Write part `number`; a process killed at any moment loses at most this batch."""
        folder.mkdir(parents=True, exist_ok=True)
        write_part(batch, folder, number)  # an empty one too: it may replace an older run's
        write_manifest(batch, folder, parts=number + 1)


SINK = ParquetSink()

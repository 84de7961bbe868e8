"""What is left to do once the frames of the command-line library are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final


@final
@dataclass(slots=True)
class Deferred:
    """Holds the one action that `main` takes last.

    A script must not run inside the command-line library: its `SystemExit` and
    `KeyboardInterrupt` would be handled there, and its stack would be twenty frames deep.
    """

    action: Callable[[], None] | None = None

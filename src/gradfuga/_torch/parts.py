"""The parts of the observer that still work: one that fails is said once and switched off."""

from __future__ import annotations

import logging
from typing import final

_log = logging.getLogger("gradfuga")
_LONGEST = 200  # characters of a foreign error: some list every backend of PyTorch


@final
class Parts:
    """Which parts have failed; the rest goes on, and so does the training.

    Attributes:
        failures: what failed by what, in the order of failing.

    Example:
        >>> parts = Parts()
        >>> parts.work("the tape")
        True
    """

    def __init__(self) -> None:
        self._off: set[str] = set()
        self.failures: list[str] = []

    def work(self, part: str) -> bool:
        """Whether `part` has never failed."""
        return part not in self._off

    def fail(self, part: str, error: Exception) -> None:
        """Switch `part` off; say so the first time."""
        if part not in self._off:
            self._off.add(part)
            self.failures.append(warn_once(part, error))

    def tell(self, what: str) -> None:
        """Note `what` is not seen; the part itself works."""
        if what not in self.failures:
            self.failures.append(what)

    def close(self, part: str) -> None:
        """Switch `part` off without a word: it works, and would be in the program's way."""
        self._off.add(part)


def warn_once(part: str, error: Exception) -> str:
    """Say that a part of the observer failed and is off; the training goes on.

    Through logging, not `warnings`: a script run with ``-W error`` would end by our warning.

    Returns:
        What failed by what, for the record of the run.
    """
    first = str(error).strip().partition("\n")[0]
    why = first if len(first) <= _LONGEST else first[:_LONGEST] + "..."
    _log.warning(
        "gradfuga: expected %s to work, got %s: %s. It is switched off; "
        "the training goes on unchanged.",
        part,
        type(error).__name__,
        why,
    )
    _log.debug("%s failed", part, exc_info=error)
    return f"{part} ({type(error).__name__}: {why})"

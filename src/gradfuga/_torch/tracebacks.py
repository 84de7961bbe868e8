"""Switch on what tells the user's source line of each op: autograd's anomaly mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch


@final
class Tracebacks:
    """Anomaly mode around forward passes, unless the program has switched it on by itself."""

    def __init__(self) -> None:
        self._on = False

    def on(self) -> None:
        """From now on every op remembers the lines that ran it."""
        if not torch.is_anomaly_enabled():
            torch.set_anomaly_enabled(True, False)
            self._on = True

    def off(self) -> None:
        """Switch off what `on` has switched on."""
        # with check_nan on, the program has switched anomaly mode on by itself meanwhile
        if self._on and not torch.is_anomaly_check_nan_enabled():
            torch.set_anomaly_enabled(False)
        self._on = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Be off for a while."""
        was_on = self._on
        self.off()
        try:
            yield
        finally:
            if was_on:
                self.on()

"""See one thread's sampled forward passes: modules, source lines, compiled modules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import nn

from .compile_seam import CompiledCall
from .compiled import CompiledCalls
from .parts import Parts
from .spies import FORWARD, OUTSIDE, ForwardSpies
from .tracebacks import Tracebacks


@final
class Forward:
    """What is in place while the forward pass of a sampled step runs.

    Args:
        thread: whose forward passes are seen.
        parts: of the observer that still work.
    """

    def __init__(self, thread: int, parts: Parts) -> None:
        self._thread, self._parts = thread, parts
        self._tracebacks = Tracebacks()
        self._armed = False
        self._sources = False  # whether source lines are wanted
        self.spies = ForwardSpies(thread, parts)
        self.compiled = CompiledCalls(self.spies, self._tracebacks, parts)

    def arm(self, *, sources: bool) -> None:
        """The next step is sampled: see its forward pass, its source lines too where wanted."""
        if not self._parts.work(FORWARD):
            return
        self._armed, self._sources = True, sources
        self.compiled.forget()
        self.spies.install()
        if sources and self._parts.work(OUTSIDE):
            self._tracebacks.on()

    def disarm(self) -> None:
        """Take everything away: the next step is not sampled, or not to be hooked."""
        if self._armed:
            self._armed = False
            self.spies.remove()
            self.compiled.forget()
        self._tracebacks.off()

    def leave_outside(self) -> None:
        """Take the hooks away, except while a compiled module is run again."""
        self.spies.remove()
        self._tracebacks.off()

    def take_sources(self) -> bool:
        """The forward pass is over: return whether its ops know their source lines."""
        known = torch.is_anomaly_enabled() or self.compiled.traced
        self._tracebacks.off()
        return known

    def call_layer(
        self, layer: nn.Module, run: Callable[[], object], args: Sequence[object]
    ) -> object:
        """Run a layer's call that torch's own hooks do not see."""
        return self.spies.call(layer, run, args) if self.spies.installed else run()

    def call_compiled(self, call: CompiledCall, *, again: bool) -> object:
        """Make the call of a compiled module; run it again where the step's tape wants it."""
        if threading.get_ident() != self._thread:
            return call.run()
        return self.compiled.call(call, wanted=self._armed and again, sources=self._sources)

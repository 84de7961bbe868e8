"""See the modules of a sampled forward pass: when each ran, what went in, what came out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils.hooks import RemovableHandle

_MOST_SPANS = 200_000  # a forward loop of 1,000 time steps has some 10,000; then we stop noting
_MOST_CALLS = 4  # root calls whose tensors are held until the backward pass of the same step


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a module: the half-open interval of autograd sequence numbers that it owns."""

    module: nn.Module
    first: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class RootCall:
    """One call of a module from outside every module.

    `outputs` are (sequence number of its op, detached value) of every tensor that came out;
    `inputs` are the tensors that went in, detached.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[tuple[int, Tensor], ...]


@final
class ForwardSpies:
    """Global forward hooks that are in place only while a sampled step's forward runs.

    Args:
        thread: whose forward passes are seen.
    """

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self.spans: list[Span] = []
        self.calls: deque[RootCall] = deque(maxlen=_MOST_CALLS)
        self._open: list[tuple[nn.Module, int, tuple[Tensor, ...]]] = []
        self._handles: list[RemovableHandle] = []

    @property
    def installed(self) -> bool:
        """Whether the hooks are in place."""
        return bool(self._handles)

    def install(self) -> None:
        """Put the hooks in place; harmless if they are."""
        if not self._handles:
            self._handles = [
                register_module_forward_pre_hook(self._enter),
                register_module_forward_hook(self._leave, always_call=True),
            ]

    def remove(self) -> None:
        """Take the hooks away and forget everything seen."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.forget()

    def forget(self) -> None:
        """Forget what was seen, keep the hooks."""
        self.spans.clear()
        self.calls.clear()
        self._open.clear()

    def _enter(self, module: nn.Module, args: tuple[object, ...]) -> None:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        if threading.get_ident() != self._thread:
            return
        inputs = tuple(_tensors(args)) if not self._open else ()
        self._open.append((module, _sequence_number(), inputs))

    def _leave(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if torch.compiler.is_compiling() or not self._open:
            return
        if threading.get_ident() != self._thread:
            return
        # a module may switch gradients off inside, or leave by an exception of a child
        while self._open and self._open[-1][0] is not module:
            if all(entry[0] is not module for entry in self._open):
                return
            self._open.pop()
        _, first, inputs = self._open.pop()
        end = _sequence_number()
        if end > first and len(self.spans) < _MOST_SPANS:
            self.spans.append(Span(module, first, end, len(self._open)))
        if not self._open and end > first:
            outputs = tuple(
                (tensor.grad_fn._sequence_nr(), tensor.detach())  # noqa: SLF001
                for tensor in _tensors(output)
                if tensor.grad_fn is not None
            )
            held = tuple(tensor.detach() for tensor in inputs)
            self.calls.append(RootCall(module, held, outputs))


def _sequence_number() -> int:
    """Return the number that autograd will give to the next op of this thread."""
    return torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]  # noqa: SLF001


def _tensors(value: object, *, depth: int = 0) -> Iterable[Tensor]:
    """Yield the tensors in a value: tuples, lists, dicts and objects with fields are opened."""
    if isinstance(value, Tensor):
        yield value
    elif depth > 4:  # noqa: PLR2004 (deeper nesting is no model output)
        return
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, depth=depth + 1)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item, depth=depth + 1)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name, None), depth=depth + 1)

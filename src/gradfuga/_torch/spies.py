"""See the modules of a sampled forward pass: when each ran, what went in, what came out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs as hooks_with_kwargs,
)
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from .parts import Parts
from .rerun import RecurrentCall

_MOST_SPANS = 200_000  # a forward loop of 1,000 time steps has some 10,000; then we stop noting
_MOST_CALLS = 4  # root calls whose tensors are held until the backward pass of the same step
_MOST_FIRST = 4  # modules whose first call is held too: an encoder, before a decoder's many calls
_MOST_RECURRENT = 256  # calls of recurrent layers; a layer called this often is a loop's cell

FORWARD = "the reading of forward passes"
OUTSIDE = "the reading of forward passes that are not compiled"


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
    `inputs` are the tensors that went in, detached; `data` those that no gradient flows through:
    the others were made by weights; `bases`, for each input, the tensor that it is a slice of, if
    it is one.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    data: tuple[Tensor, ...]
    outputs: tuple[tuple[int, Tensor], ...]
    bases: tuple[Tensor | None, ...] = ()


@final
class ForwardSpies:
    """Global forward hooks that are in place only while a sampled step's forward runs.

    Args:
        thread: whose forward passes are seen.
        parts: of the observer that still work.
    """

    def __init__(self, thread: int, parts: Parts) -> None:
        self._parts = parts
        self._thread = thread
        self.spans: list[Span] = []
        self._first: dict[int, RootCall] = {}  # by identity of the module, which the call holds
        self._last: deque[RootCall] = deque(maxlen=_MOST_CALLS)
        self.recurrent: list[RecurrentCall] = []
        self.packs = False  # whether something packs the saved tensors, as checkpoints do
        self._open: list[tuple[nn.Module, int, tuple[Tensor, ...]]] = []
        self._handles: list[RemovableHandle] = []

    @property
    def calls(self) -> tuple[RootCall, ...]:
        """The last calls from outside every module, after the first ones of other modules."""
        last = {id(call.module) for call in self._last}
        return (*(call for key, call in self._first.items() if key not in last), *self._last)

    @property
    def installed(self) -> bool:
        """Whether the hooks are in place."""
        return bool(self._handles)

    def install(self) -> None:
        """Put the hooks in place where modules are not compiled; harmless if they are."""
        if self._parts.work(OUTSIDE):
            self._put()

    def _put(self) -> None:
        if not self._handles and self._parts.work(FORWARD):
            self._handles = [
                register_module_forward_pre_hook(self._pre_hook),
                register_module_forward_hook(self._hook, with_kwargs=True, always_call=True),
            ]

    def remove(self) -> None:
        """Take the hooks away and forget everything seen."""
        self._take_away()
        self.forget()

    @contextmanager
    def placed(self, *, there: bool) -> Iterator[None]:
        """Have the hooks in place, or not, for a while."""
        were = self.installed
        try:
            self._put() if there else self._take_away()
            yield
        finally:
            self._put() if were else self._take_away()

    def _take_away(self) -> None:
        for handle in self._handles:
            handle.remove()
            # torch's handle forgets this one entry, and every later compiled call would warn
            hooks_with_kwargs.pop(handle.id, None)
        self._handles = []

    def forget(self) -> None:
        """Forget what was seen, keep the hooks."""
        self.spans.clear()
        self._first.clear()
        self._last.clear()
        self.recurrent.clear()
        self.packs = False
        self._open.clear()

    def _pre_hook(self, module: nn.Module, args: tuple[object, ...]) -> None:
        try:
            self._enter(module, args)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(FORWARD, error)

    def _hook(self, module: nn.Module, args: tuple[object, ...], *rest: object) -> None:
        try:
            self._leave(module, args, *rest)
        except Exception as error:  # noqa: BLE001
            self._parts.fail(FORWARD, error)

    def call(self, module: nn.Module, run: Callable[[], object], args: Sequence[object]) -> object:
        """Run the call of a module that torch's hooks do not see, as they would see it."""
        self._pre_hook(module, tuple(args))
        output: object = None
        try:
            output = run()
        finally:
            self._hook(module, (), output)
        return output

    def _enter(self, module: nn.Module, args: tuple[object, ...]) -> None:
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        if threading.get_ident() != self._thread:
            return
        inputs = tuple(tensors_in(args)) if not self._open else ()
        self._open.append((module, next_number(), inputs))

    def _leave(
        self,
        module: nn.Module,
        args: tuple[object, ...],
        *rest: object,
    ) -> None:
        # torch leaves the keyword arguments out where it calls after an exception
        output = rest[-1]
        kwargs = rest[0] if len(rest) > 1 and isinstance(rest[0], dict) else {}
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
        end = next_number()
        self.packs |= saved_tensors_are_packed()
        if isinstance(module, nn.RNNBase) and len(self.recurrent) < _MOST_RECURRENT:
            call = _recurrent_call(module, args, kwargs, output)
            if call is not None:
                self.recurrent.append(call)
        self.note(module, inputs, output, first=first, end=end)

    def note(
        self, module: nn.Module, inputs: Sequence[Tensor], output: object, *, first: int, end: int
    ) -> None:
        """Note a call: which of autograd's numbers it owns, and what went in and came out."""
        if end > first and len(self.spans) < _MOST_SPANS:
            self.spans.append(Span(module, first, end, len(self._open)))
        if not self._open and end > first:
            self._keep(_root_call(module, inputs, _numbered(output)))

    def _keep(self, call: RootCall) -> None:
        self._last.append(call)
        if len(self._first) < _MOST_FIRST:
            self._first.setdefault(id(call.module), call)

    def mark(self) -> Callable[[], None]:
        """Return what makes the spies forget all that they see from now on."""
        spans, recurrent = len(self.spans), len(self.recurrent)
        first, last = dict(self._first), list(self._last)
        opened, packs = list(self._open), self.packs

        def back() -> None:
            del self.spans[spans:], self.recurrent[recurrent:]
            self._first, self._last = first, deque(last, maxlen=_MOST_CALLS)
            self._open, self.packs = opened, packs

        return back

    def answer(self, inputs: Sequence[Tensor], output: object) -> None:
        """Let the last call from outside have had `inputs`, and returned `output` too.

        What was seen is a copy of it, run elsewhere.
        """
        if not self._open and self._last:
            last = self._last.pop()
            if self._first.get(id(last.module)) is last:
                del self._first[id(last.module)]
            outputs = (*last.outputs, *_numbered(output))
            self._keep(_root_call(last.module, inputs, outputs))


def _root_call(
    module: nn.Module, inputs: Sequence[Tensor], outputs: tuple[tuple[int, Tensor], ...]
) -> RootCall:
    held = tuple(tensor.detach() for tensor in inputs)
    data = tuple(
        kept for kept, tensor in zip(held, inputs, strict=True) if not tensor.requires_grad
    )
    return RootCall(module, held, data, outputs, tuple(_base(tensor) for tensor in inputs))


def _numbered(output: object) -> tuple[tuple[int, Tensor], ...]:
    """Return every tensor that came out with the number of its op."""
    return tuple(
        (tensor.grad_fn._sequence_nr(), tensor.detach())  # noqa: SLF001
        for tensor in tensors_in(output)
        if tensor.grad_fn is not None
    )


def next_number() -> int:
    """Return the number that autograd will give to the next op of this thread."""
    return torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]  # noqa: SLF001


def _base(tensor: Tensor) -> Tensor | None:
    """Return the data that `tensor` is a view of, None where it is none or was computed."""
    base = tensor._base  # noqa: SLF001
    return None if base is None or base.requires_grad else base.detach()


def tensors_in(value: object, *, depth: int = 0) -> Iterable[Tensor]:
    """Yield the tensors in a value: tuples, lists, dicts and objects with fields are opened."""
    if isinstance(value, Tensor):
        yield value
    elif depth > 4:  # noqa: PLR2004 (deeper nesting is no model output)
        return
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item, depth=depth + 1)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item, depth=depth + 1)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors_in(getattr(value, name, None), depth=depth + 1)


def saved_tensors_are_packed() -> bool:
    """Whether hooks on saved tensors are in force: unpacking those runs code of others."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None  # noqa: SLF001


def _recurrent_call(
    module: nn.RNNBase, args: tuple[object, ...], kwargs: dict[str, object], output: object
) -> RecurrentCall | None:
    """Return what a recurrent layer of torch was called with; None for an unknown form."""
    given = args[0] if args else kwargs.get("input")
    state = args[1] if len(args) > 1 else kwargs.get("hx")
    if not isinstance(output, tuple) or len(output) != 2:  # noqa: PLR2004 (output, state)
        return None
    out, last = output
    if not isinstance(given, Tensor | PackedSequence) or not isinstance(
        out, Tensor | PackedSequence
    ):
        return None
    start = tuple(tensors_in(state))
    made = out if isinstance(out, Tensor) else out.data
    return RecurrentCall(
        module,
        _detached(given),
        tuple(each.detach() for each in start),
        _detached(out),
        tuple(each.detach() for each in tensors_in(last)),
        linked=any(each.requires_grad for each in start),
        made_by=made.grad_fn._sequence_nr() if made.grad_fn is not None else -1,  # noqa: SLF001
    )


def _detached(value: Tensor | PackedSequence) -> Tensor | PackedSequence:
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.detach())
    return value.detach()

"""See every backward pass of a process: the two functions that run one, replaced for a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, final

import torch

from .handed import Wanted, listed, wanted_by
from .parts import Parts
from .strand import Strand

_GRAD = "the reading of torch.autograd.grad"


@final
class PassSeam:
    """Replaces `torch.autograd.backward` and `torch.autograd.grad` while a process is observed.

    `Tensor.backward` calls the first. Arguments, results and exceptions pass through unchanged. A
    program may keep a replaced function under a name of its own: once detached it only passes on.

    Args:
        strand: of the running thread, None where it is not followed.
        parts: of the observer that still work.
    """

    def __init__(self, strand: Callable[[], Strand | None], parts: Parts) -> None:
        self._strand, self._parts = strand, parts
        self._attached = False
        self._backward: Callable[..., None] | None = None
        self._grad: Callable[..., object] | None = None
        self._wrappers: tuple[Callable[..., None], Callable[..., object]] | None = None

    def attach(self) -> None:
        """Put the seam in place."""
        plain_backward, plain_grad = torch.autograd.backward, torch.autograd.grad

        def backward(*args: object, **kwargs: object) -> None:
            strand = self._followed()
            if strand is None:
                plain_backward(*args, **kwargs)  # type: ignore[arg-type]
            else:
                strand.run(plain_backward, args, kwargs)

        def grad(*args: object, **kwargs: object) -> object:
            strand = self._followed()
            if strand is None:
                return plain_grad(*args, **kwargs)  # type: ignore[call-overload]
            args, kwargs = listed(args, kwargs)
            wanted = self._wanted(args, kwargs)
            if wanted is None:
                return plain_grad(*args, **kwargs)  # type: ignore[call-overload]
            return strand.run(plain_grad, args, kwargs, wanted)

        for wrapper, original in ((backward, plain_backward), (grad, plain_grad)):
            wrapper.__wrapped__ = original  # type: ignore[attr-defined]  # as functools.wraps does
            wrapper.__doc__ = original.__doc__
        self._backward, self._grad = plain_backward, plain_grad
        self._wrappers = (backward, grad)
        torch.autograd.backward, torch.autograd.grad = backward, grad  # type: ignore[assignment]
        self._attached = True

    def detach(self) -> None:
        """Put each original back, if ours is still the one in place."""
        self._attached = False
        if self._wrappers is None:
            return
        backward, grad = self._wrappers
        if torch.autograd.backward is backward:
            torch.autograd.backward = self._backward  # type: ignore[assignment]
        if torch.autograd.grad is grad:
            torch.autograd.grad = self._grad  # type: ignore[assignment]
        self._wrappers = None

    def stand_apart(self) -> None:
        """The program compiles functions: what runs in ours must not be compiled into them."""
        if self._wrappers is None:
            return
        backward, grad = self._wrappers
        if torch.autograd.backward is backward and torch.autograd.grad is grad:
            apart = cast("Any", torch.compiler).disable
            self._wrappers = apart(backward), apart(grad)
            torch.autograd.backward, torch.autograd.grad = self._wrappers  # type: ignore[assignment]

    def _wanted(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Wanted | None:
        if not self._parts.work(_GRAD):
            return None
        try:
            return wanted_by(args, kwargs)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_GRAD, error)
            return None

    def _followed(self) -> Strand | None:
        # a compiler that traces the program must see the original alone
        if not self._attached or torch.compiler.is_compiling():
            return None
        return self._strand()

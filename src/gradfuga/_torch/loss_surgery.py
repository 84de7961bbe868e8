"""Apply edits that lie outside of any model: in the loss, in the number format of a training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from .anatomy import CALLS

_SOFTMAX = frozenset({torch.softmax, F.softmax, Tensor.softmax})
_ON_PROBABILITIES = frozenset({F.mse_loss, F.binary_cross_entropy, F.l1_loss, F.smooth_l1_loss})
_ON_LOGITS: frozenset[Callable[..., object]] = frozenset({F.cross_entropy})
FIRST_SCALE = 2.0**16  # torch.amp.GradScaler's


class LogitLoss(TorchFunctionMode):
    """While active, losses of a sigmoid's output are taken on its logits.

    ``mse_loss(sigmoid(z), y)`` becomes ``binary_cross_entropy_with_logits(z, y)``, and
    ``cross_entropy(softmax(z), y)`` becomes ``cross_entropy(z, y)``. The model's outputs stay.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = 0
        self._logits: MutableMapping[Tensor, tuple[str, Tensor]] = WeakIdKeyDictionary()

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        del types
        given = dict(kwargs or {})
        if CALLS.get(func) == "sigmoid" or func in _SOFTMAX:
            output = func(*args, **given)
            z = args[0] if args else given.get("input")
            if isinstance(output, Tensor) and isinstance(z, Tensor):
                self._logits[output] = ("softmax" if func in _SOFTMAX else "sigmoid", z)
            return output
        loss = inspect.unwrap(func)  # others may look on at the losses too
        if loss not in _ON_PROBABILITIES and loss not in _ON_LOGITS:
            return func(*args, **given)
        p = args[0] if args else given.get("input")
        y = args[1] if len(args) > 1 else given.get("target")
        if not isinstance(p, Tensor) or not isinstance(y, Tensor):
            return func(*args, **given)
        kind, z = self._logits.get(p, ("", p))
        reduction = str(given.get("reduction", "mean"))
        if kind == "sigmoid" and loss in _ON_PROBABILITIES:
            self.changed += 1
            return F.binary_cross_entropy_with_logits(z, y.to(z.dtype), reduction=reduction)
        if kind == "softmax" and loss in _ON_LOGITS:
            self.changed += 1
            given.pop("input", None)
            return func(z, *args[1:], **given)
        return func(*args, **given)


@contextmanager
def scaled_backward(parameters: Callable[[], Iterator[nn.Parameter]]) -> Iterator[None]:
    """Multiply each loss before its backward pass, and divide the gradients behind it.

    What a GradScaler does, for a script that has none: small gradients of a float16 computation
    do not underflow on their way. The weights must be of full precision. A gradient that
    overflows is dropped, and the scale halved.

    Args:
        parameters: the parameters whose gradients are wanted, asked for at each pass.
    """
    original = Tensor.backward
    whole: Callable[..., None] = original  # torch leaves it untyped
    scale = [FIRST_SCALE]

    def backward(
        loss: Tensor,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: object = None,
    ) -> None:
        factor = scale[0]
        held = list(parameters())
        for parameter in held:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        whole(loss * factor, gradient, retain_graph, create_graph, inputs)
        came = [p.grad for p in held if p.grad is not None]
        for grad in came:
            grad.div_(factor)
        if not all(bool(torch.isfinite(grad).all()) for grad in came):
            scale[0] = max(factor / 2.0, 1.0)
            for parameter in held:
                parameter.grad = None

    Tensor.backward = backward  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.backward = original  # type: ignore[method-assign]


@contextmanager
def bfloat16_autocast() -> Iterator[None]:
    """Let every autocast that asks for float16 compute in bfloat16."""
    original = torch.autocast.__init__

    def start(self: torch.autocast, *args: object, **kwargs: object) -> None:
        args = tuple(torch.bfloat16 if a is torch.float16 else a for a in args)
        named = {k: torch.bfloat16 if v is torch.float16 else v for k, v in kwargs.items()}
        original(self, *args, **named)  # type: ignore[arg-type]

    torch.autocast.__init__ = start  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autocast.__init__ = original  # type: ignore[method-assign]

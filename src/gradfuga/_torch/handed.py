"""Tell the calls of `torch.autograd.grad` whose gradients become those of an optimizer step.

Most calls serve something else: a gradient penalty, an inner loop, an adversarial example. What is
asked for tells the candidates; that the optimizer is handed the very tensors tells the steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import final

import torch
from torch import Tensor, nn

from .parameters import SeenGradient, see
from .sharding import local

_ARGUMENTS = signature(torch.autograd.grad)
# A single tensor that is no `nn.Parameter` is as likely an input (an adversarial example).
_FEWEST = 2
_COMPARED = 4  # parameters whose gradient is looked up: all are handed over, or none


@final
@dataclass(slots=True)
class Wanted:
    """One call that may compute the gradients of a step.

    Attributes:
        roots: the loss, which it starts from.
        parameters: what it asks the gradient of.
    """

    roots: list[Tensor]
    parameters: tuple[Tensor, ...]
    _given: list[tuple[weakref.ref[Tensor], weakref.ref[Tensor]]] = field(default_factory=list)

    def answered(self, result: object, *, measured: bool) -> dict[int, SeenGradient]:
        """Take what the call returned; hold neither that nor the graph of the loss any longer.

        Returns:
            The gradients by the identity of their parameter; nothing unless they are `measured`.
        """
        values = tuple(result.values()) if isinstance(result, dict) else result
        given = values if isinstance(values, tuple) else ()
        pairs = zip(self.parameters, given, strict=bool(given))
        known = [(p, g) for p, g in pairs if isinstance(g, Tensor)]
        self._given = [(weakref.ref(p), weakref.ref(g)) for p, g in known[:_COMPARED]]
        self.roots, self.parameters = [], ()
        held = [(id(p), local(g)) for p, g in known]
        return see(held, with_peaks=True) if measured else {}

    @property
    def was_handed_over(self) -> bool:
        """Whether the gradients of the parameters are now the tensors that the call returned."""
        for parameter, gradient in self._given:
            holder, given = parameter(), gradient()
            held = holder.grad if holder is not None else None
            if held is None or given is None:
                return False
            if held is not given and held.data_ptr() != given.data_ptr():
                return False  # `.detach()` gives another tensor with the same values
        return bool(self._given)


def wanted_by(args: Sequence[object], kwargs: Mapping[str, object]) -> Wanted | None:
    """Return what a call asks for where that may be the gradient of a step, else None.

    One loss without weights of its own, and leaves that need a gradient: parameters, or several
    tensors. Not where the result is to be differentiated again, nor inside `torch.func`.
    """
    if torch._C._functorch.maybe_current_level() is not None:  # noqa: SLF001
        return None
    try:
        given = _ARGUMENTS.bind(*args, **kwargs).arguments
    except TypeError:
        return None  # torch says it better
    if any(given.get(name) for name in ("create_graph", "is_grads_batched")):
        return None
    if given.get("grad_outputs") is not None:
        return None
    outputs, inputs = given["outputs"], given["inputs"]
    if isinstance(outputs, list | tuple) and len(outputs) == 1:
        outputs = outputs[0]
    if not isinstance(outputs, Tensor) or outputs.numel() != 1 or outputs.grad_fn is None:
        return None
    inputs = tuple(inputs.values()) if isinstance(inputs, dict) else inputs
    leaves = (inputs,) if isinstance(inputs, Tensor) else inputs
    if not isinstance(leaves, list | tuple):
        return None
    if not all(isinstance(leaf, Tensor) and leaf.is_leaf and leaf.requires_grad for leaf in leaves):
        return None
    if len(leaves) < _FEWEST and not any(isinstance(leaf, nn.Parameter) for leaf in leaves):
        return None
    return Wanted([outputs], tuple(leaves))


def listed(
    args: tuple[object, ...], kwargs: Mapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments with an iterator over the inputs (`model.parameters()`) as a list."""
    given = dict(kwargs)
    place = 1
    if len(args) > place and _runs_out(args[place]):
        return (*args[:place], tuple(args[place]), *args[place + 1 :]), given  # type: ignore[arg-type]
    if _runs_out(given.get("inputs")):
        given["inputs"] = tuple(given["inputs"])  # type: ignore[arg-type]
    return args, given


def _runs_out(value: object) -> bool:
    return not isinstance(value, Tensor | list | tuple | dict) and hasattr(value, "__next__")

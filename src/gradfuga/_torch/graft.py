"""Act between a model's layers and activations while it runs: swap, stretch, skip.

What is written as a function call in a user's ``forward`` has no module that could be replaced.
The graft lives in hooks of the model: while its forward runs, a TorchFunctionMode sees the calls.
All that it needs is held by path, so that the model can be copied and pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..theory.isometric_activation import Affine
from .anatomy import CALLS, FUNCTIONS, modules_of, name_of_activation

SKIP_SCALE = "skip_scale"  # the name of a learned factor's parameter on its layer


class StretchedActivation(nn.Module):
    """``stretch * phi(z) + shift``."""

    def __init__(self, name: str, affine: Affine) -> None:
        super().__init__()
        self.name = name
        self.stretch = affine.stretch
        self.shift = affine.shift

    def forward(self, z: Tensor) -> Tensor:
        """Return the stretched activation of `z`, any shape."""
        return self.stretch * FUNCTIONS[self.name](z) + self.shift

    def extra_repr(self) -> str:
        """Name the activation and its two numbers."""
        return f"{self.name}, stretch={self.stretch:.4f}, shift={self.shift:.4f}"


@dataclass(frozen=True, slots=True)
class Swap:
    """What comes in place of a call: the activation, stretched where `affine` is given.

    `calls` are the ordinals within one forward pass, from 1; none means all.
    """

    to: str
    affine: Affine | None = None
    calls: frozenset[int] = frozenset()


@dataclass(slots=True)
class Graft:
    """The changes of one model that act between its modules.

    Attributes:
        skips: factor of the skip connection around a layer and its activation, by the layer.
        affines: stretch and shift of the activation behind a layer, by the layer.
        swaps: by (path of the module in whose forward the call is, name of the activation).
        measure: called with layer, activation and pre-activation; returns what to put instead.
    """

    skips: dict[str, float] = field(default_factory=dict)
    affines: dict[str, Affine] = field(default_factory=dict)
    swaps: dict[tuple[str, str], Swap] = field(default_factory=dict)
    measure: Callable[[str, str, Tensor], Affine] | None = None
    _layer: str = ""  # the last layer that ran, until its activation has
    _module: nn.Module | None = None
    _input: Tensor | None = None
    _open: list[str] = field(default_factory=list)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _activations: int = 0  # activation modules that are running
    _modes: list[_Calls] = field(default_factory=list)

    def begin(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Start to see the calls of one forward pass of the model."""
        del module, args
        self._counts.clear()
        mode = _Calls(self)
        mode.__enter__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self._modes.append(mode)

    def end(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        """Stop seeing calls; also when the forward pass raised."""
        del module, args, output
        if self._modes:
            self._modes.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call] # as above
        self._layer, self._module, self._input = "", None, None
        self._open.clear()
        self._activations = 0

    def enter(self, path: str, module: nn.Module, args: tuple[object, ...]) -> None:
        """Note which module runs, and what a layer gets."""
        del module, args
        self._open.append(path)

    def leave(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        """Note that the module has run."""
        del module, args, output
        if self._open:
            self._open.pop()

    def pass_layer(
        self, path: str, module: nn.Module, args: tuple[object, ...], output: object
    ) -> None:
        """Remember a layer and its input until its activation."""
        del output
        self._layer, self._module = path, module
        self._input = args[0] if args and isinstance(args[0], Tensor) else None

    def begin_activation(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """See no calls inside an activation module: it is one event."""
        del module, args
        self._activations += 1

    def end_activation(
        self, name: str, module: nn.Module, args: tuple[object, ...], output: object
    ) -> object:
        """Treat an activation module's output."""
        del module
        self._activations = max(self._activations - 1, 0)
        if self._activations or not isinstance(output, Tensor) or not args:
            return None
        z = args[0]
        return self.after_activation(name, z, output) if isinstance(z, Tensor) else None

    def call(
        self, name: str, function: Callable[..., object], args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:  # fmt: skip
        """Run the call of an activation, or what comes in its place."""
        if self._activations:
            return function(*args, **kwargs)
        key = (self._open[-1] if self._open else "", name)
        self._counts[key] = number = self._counts.get(key, 0) + 1
        z = args[0] if args else kwargs.get("input")
        if not isinstance(z, Tensor):
            return function(*args, **kwargs)
        swap = self.swaps.get(key)
        if swap is None or (swap.calls and number not in swap.calls):
            output = function(*args, **kwargs)
        else:
            name = swap.to
            output = FUNCTIONS[name](z)
            if swap.affine is not None:
                output = swap.affine.stretch * output + swap.affine.shift
        return self.after_activation(name, z, output) if isinstance(output, Tensor) else output

    def after_activation(self, name: str, z: Tensor, output: Tensor) -> Tensor:
        """Return what the activation behind the last layer hands on."""
        layer, module, given = self._layer, self._module, self._input
        self._layer, self._module, self._input = "", None, None
        if self.measure is not None and layer:
            self.affines[layer] = self.measure(layer, name, z)
        affine = self.affines.get(layer)
        if affine is not None:
            output = affine.stretch * output + affine.shift
        scale = self.skips.get(layer)
        if scale is None or given is None or given.shape != output.shape:
            return output
        learned = None if module is None else module._parameters.get(SKIP_SCALE)  # noqa: SLF001
        return given + (scale if learned is None else learned) * output


class _Calls(TorchFunctionMode):
    """Shows the graft every call of an activation."""

    def __init__(self, graft: Graft) -> None:
        super().__init__()
        self.graft = graft

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        del types
        name = CALLS.get(func, "")
        if not name:
            return func(*args, **(kwargs or {}))
        return self.graft.call(name, func, args, kwargs or {})


def graft_of(model: nn.Module) -> Graft | None:
    """Return the graft that lives in `model`'s hooks, None where there is none yet."""
    for hook in model._forward_pre_hooks.values():  # noqa: SLF001
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Graft):
            return owner
    return None


def grafted(model: nn.Module, layers: Mapping[str, nn.Module]) -> Graft:
    """Return `model`'s graft, which sees `layers` from now on, with all of its hooks in place."""
    graft = graft_of(model)
    if graft is None:
        graft = Graft()
        for path, module in modules_of(model).items():
            module.register_forward_pre_hook(partial(graft.enter, path), prepend=True)
            module.register_forward_hook(graft.leave, always_call=True)
            name = _activation(module)
            if name:
                module.register_forward_pre_hook(graft.begin_activation)
                module.register_forward_hook(partial(graft.end_activation, name))
        model.register_forward_pre_hook(graft.begin, prepend=True)
        model.register_forward_hook(graft.end, always_call=True)
    for path, module in layers.items():
        watched = any(
            isinstance(hook, partial) and getattr(hook.func, "__name__", "") == "pass_layer"
            for hook in module._forward_hooks.values()  # noqa: SLF001
        )
        if not watched:
            module.register_forward_hook(partial(graft.pass_layer, path))
    return graft


def _activation(module: nn.Module) -> str:
    return module.name if isinstance(module, StretchedActivation) else name_of_activation(module)


def attach_activation(model: nn.Module, module: nn.Module) -> None:
    """Show a new activation module to the graft of `model`, if there is one."""
    graft = graft_of(model)
    name = _activation(module)
    if graft is not None and name:
        module.register_forward_pre_hook(graft.begin_activation)
        module.register_forward_hook(partial(graft.end_activation, name))


def no_grad_slope(name: str, z: Tensor) -> Tensor:
    """Return phi'(z), any shape, without touching the user's graph."""
    with torch.enable_grad():
        leaf = z.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(FUNCTIONS[name](leaf).sum(), leaf)
    return slope

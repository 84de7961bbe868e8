"""Edit a network whose weights no module holds: at the calls that use them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._edits import Edit, Initialize, SwapActivation
from ..theory.isometric_activation import Affine, isometric
from .anatomy import CALLS, FUNCTIONS
from .drawing import fill

# Of a weight that stands at a place among the arguments, the axis that is summed over.
_LAST, _LAST_BUT_ONE = -1, -2
_PRODUCTS: Mapping[str, Mapping[int, int]] = {
    **{key: {0: _LAST, 1: _LAST_BUT_ONE} for key in ("matmul", "__matmul__", "mm", "bmm", "mv")},
    "__rmatmul__": {0: _LAST_BUT_ONE, 1: _LAST},
    "addmm": {1: _LAST, 2: _LAST_BUT_ONE},
}
# These take a weight as its layer's module would hold it: outputs first.
_LAYERS = frozenset({F.linear, F.conv1d, F.conv2d, F.conv3d, torch.einsum})
_Site = tuple[object, int]  # code and line of a call


@final
class LooseTensors(TorchFunctionMode):
    """While active, weights are drawn anew before their first use, and calls are swapped.

    Only at its use does a weight that no layer holds show how many inputs it sums over. Random
    numbers are drawn from the state at hand, which is put back.

    Args:
        named: the weights that the optimizer holds, by every name that a variable gives them.
        edits: those of them that name these weights, or calls of activations, are made.
        made: is told each edit when it is made for the first time.
    """

    def __init__(
        self, named: Mapping[str, Tensor], edits: Sequence[Edit], made: Callable[[Edit], None]
    ) -> None:
        super().__init__()
        self._made = made
        self._told: list[Edit] = []
        self._draws: dict[int, tuple[Tensor, Initialize]] = {}
        self._swaps: list[tuple[SwapActivation, Affine | None]] = []
        for edit in edits:
            if isinstance(edit, Initialize) and not edit.recurrent:
                for path in edit.paths:
                    weight = named.get(path)
                    if weight is not None and weight.dim() > 1:
                        self._draws[id(weight)] = (weight, edit)
            elif isinstance(edit, SwapActivation):
                affine = isometric(edit.to) if edit.normalized else None
                self._swaps.append((edit, affine))
        self._counts: dict[str, int] = {}
        self._sites: dict[_Site, int] = {}  # which swap acts there, by its place
        self._learning = True

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._draws or self._swaps)

    def stepped(self) -> None:
        """Note that the first pass is over: from now on the calls are known by their lines."""
        self._learning = False

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run a call of torch, or what comes in its place."""
        del types
        given = dict(kwargs or {})
        if self._draws:
            self._draw_before(func, args)
        name = CALLS.get(func, "")
        if name and self._swaps:
            swap = self._swap_at(name)
            z = args[0] if args else given.get("input")
            if swap is not None and isinstance(z, Tensor):
                edit, affine = swap
                self._tell(edit)
                output = FUNCTIONS[edit.to](z)
                return output if affine is None else affine.stretch * output + affine.shift
        return func(*args, **given)

    def _draw_before(self, func: Callable[..., object], args: tuple[object, ...]) -> None:
        axes = _PRODUCTS.get(getattr(func, "__name__", ""), {})
        for place, given in enumerate(args):
            if not isinstance(given, Tensor):
                continue
            whole = given if id(given) in self._draws else given._base  # noqa: SLF001 (of a view)
            if whole is None or id(whole) not in self._draws:
                continue
            if func in _LAYERS:
                inputs = math.prod(given.shape[1:])
            elif place in axes and given.dim() > 1:
                inputs = given.shape[axes[place]]
            else:
                continue  # a view is taken, or a norm: no use as a weight
            weight, edit = self._draws.pop(id(whole))
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                fill(weight, edit, float(inputs), weight.numel() / inputs)
            self._tell(edit)

    def _swap_at(self, name: str) -> tuple[SwapActivation, Affine | None] | None:
        """Return the swap of the call that runs, None where it stays."""
        site = _site()
        if self._learning:
            self._counts[name] = number = self._counts.get(name, 0) + 1
            for place, (edit, _affine) in enumerate(self._swaps):
                if {f"{name}#{number}", name} & set(edit.paths):
                    self._sites[site] = place
        place = self._sites.get(site, -1)
        return self._swaps[place] if place >= 0 else None

    def _tell(self, edit: Edit) -> None:
        if edit not in self._told:
            self._told.append(edit)
            self._made(edit)


def _site() -> _Site:
    """Return the user's line that is running."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 (inspect reads sources as well)
    while frame is not None:
        owner = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if owner not in ("torch", "gradfuga"):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None, 0

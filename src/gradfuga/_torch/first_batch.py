"""Adapt a model to its first batch: the edits that need data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ..theory.isometric_activation import Affine, shift_of
from .anatomy import FUNCTIONS
from .graft import Graft, no_grad_slope

Call = Callable[[], None]  # runs the model's forward on the batch
_TINY = 1e-12


@torch.no_grad()
def calibrate(layers: Mapping[str, nn.Module], graft: Graft | None, run: Call) -> None:
    """Scale each layer, in the order in which they run, to outputs of unit variance.

    Orthogonal weights and zero biases first. As the bias is zero, one division is exact. With
    a `graft`, each activation gets the stretch and shift at which the layer's gain is one and
    its output of unit size.
    """
    for module in layers.values():
        weight = module.weight
        assert isinstance(weight, Tensor)
        exact = torch.empty_like(weight, dtype=torch.float32)
        weight.copy_(nn.init.orthogonal_(exact))
        bias = module._parameters.get("bias")  # noqa: SLF001
        if bias is not None:
            bias.zero_()
    done: set[int] = set()

    def scale(module: nn.Module, args: object, output: Tensor) -> Tensor | None:
        del args
        if id(module) in done:
            return None  # a tied layer is scaled for its first use
        done.add(id(module))
        # the second moment, which the layer above sees; the mean of orthogonal layers is small
        size = float(output.float().square().mean().sqrt())
        if size <= _TINY:
            return None
        module.weight.div_(size)  # type: ignore[operator]
        return output / size

    handles = [module.register_forward_hook(scale, prepend=True) for module in layers.values()]
    if graft is not None:
        graft.measure = partial(_measured, frozenset(layers))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
        if graft is not None:
            graft.measure = None


def _measured(layers: frozenset[str], layer: str, name: str, z: Tensor) -> Affine:
    """Return stretch and shift from the pre-activations that the batch gives."""
    if layer not in layers:
        return Affine(1.0, 0.0)
    slope = float(no_grad_slope(name, z).double().square().mean().sqrt())
    if slope <= _TINY:
        return Affine(1.0, 0.0)
    value = FUNCTIONS[name](z).double()
    stretch = 1.0 / slope
    return Affine(stretch, shift_of(stretch, float(value.mean()), float(value.square().mean())))


@torch.no_grad()
def revive(layers: Mapping[str, nn.Module], run: Call) -> None:
    """Draw the incoming weights of units anew that are negative for the whole batch."""

    def look(module: nn.Module, args: object, output: Tensor) -> Tensor | None:
        unit = output.dim() - 1 if isinstance(module, nn.Linear) else 1
        dead = (output.movedim(unit, 0).flatten(1) <= 0.0).all(dim=1)
        if not bool(dead.any()):
            return None
        weight = module.weight
        assert isinstance(weight, Tensor)
        fresh = torch.empty_like(weight).normal_(0.0, (2.0 / weight[0].numel()) ** 0.5)
        weight[dead] = fresh[dead]
        bias = module._parameters.get("bias")  # noqa: SLF001
        if bias is not None:
            bias[dead] = 0.0
        del args
        return None

    handles = [module.register_forward_hook(look) for module in layers.values()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()


class Standardize:
    """A forward pre-hook: take off the mean of the first batch, divide by its spread."""

    def __init__(self) -> None:
        self.mean: Tensor | None = None
        self.spread: Tensor | None = None

    def __call__(self, module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...] | None:
        """Return the arguments with the first one standardized, where it is of real numbers."""
        del module
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        x = args[0]
        if self.mean is None or self.spread is None:
            with torch.no_grad():
                # features are the last axis of a table, the channels of an image or a signal
                axes = tuple(range(x.dim() - 1)) if x.dim() == 2 else (0, *range(2, x.dim()))  # noqa: PLR2004
                self.mean = x.mean(axes, keepdim=True)
                spread = x.std(axes, keepdim=True, correction=0)
                self.spread = torch.where(spread > _TINY, spread, torch.ones_like(spread))
        return ((x - self.mean.to(x.device)) / self.spread.to(x.device), *args[1:])

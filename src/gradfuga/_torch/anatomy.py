"""Find a model's layers or activations by the paths that a diagnosis uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from .._errors import UsageError
from .naming import clean

LAYERS = (nn.Linear, _ConvNd)
RECURRENT = (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell)
_CLOSED = (nn.MultiheadAttention,)  # computes with its parts' weights, not through their forward

# Modules by the name that gradfuga.theory.activations gives their function.
MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "hardtanh": nn.Hardtanh,
    "hardsigmoid": nn.Hardsigmoid,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "celu": nn.CELU,
    "logsigmoid": nn.LogSigmoid,
    "identity": nn.Identity,
}
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "selu": torch.selu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "celu": F.celu,
    "logsigmoid": F.logsigmoid,
}
# Every way to call them.
CALLS: Mapping[Callable[..., object], str] = {
    **{function: name for name, function in FUNCTIONS.items()},
    F.relu: "relu",
    F.relu_: "relu",
    torch.relu_: "relu",
    Tensor.relu: "relu",
    Tensor.relu_: "relu",
    F.tanh: "tanh",
    Tensor.tanh: "tanh",
    Tensor.tanh_: "tanh",
    F.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
    Tensor.sigmoid_: "sigmoid",
    torch.special.expit: "sigmoid",
    F.selu: "selu",
}


def name_of_activation(module: nn.Module) -> str:
    """Return the catalogue's name of an activation module, "" for any other module."""
    return next((name for name, kind in MODULES.items() if type(module) is kind), "")


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return every module of `model` by its path, wrappers' prefixes taken off."""
    return {clean(name): module for name, module in model.named_modules()}


def inside_closed(model: nn.Module) -> set[int]:
    """Return the identities of modules whose forward is never called."""
    return {
        id(part)
        for module in model.modules()
        if isinstance(module, _CLOSED)
        for part in module.modules()
        if part is not module
    }


def layers_at(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return the linear or convolutional layers at `paths`; without paths all but the last.

    A path may name a block: then its layers are meant, all of them.
    """
    closed = inside_closed(model)
    known = modules_of(model)
    layers = {
        path: module
        for path, module in known.items()
        if isinstance(module, LAYERS) and id(module) not in closed and not _unborn(module)
    }
    if not paths:
        return dict(list(layers.items())[:-1])
    wanted = tuple(path.partition("#")[0].partition("/")[0] for path in paths)
    return {
        path: module
        for path, module in layers.items()
        if any(path == each or (each and path.startswith(f"{each}.")) for each in wanted)
    }


def output_layer(model: nn.Module) -> str:
    """Return the path of the layer that was registered last, "" where there is none."""
    return next(reversed(layers_at(model, tuple(modules_of(model)))), "")


def _unborn(module: nn.Module) -> bool:
    return any(is_lazy(parameter) for parameter in module.parameters(recurse=False))


def parent_of(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the module that holds the one at `path`, and the name it is held by.

    Raises:
        UsageError: nothing is there.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        if name and clean(name) == path:
            owner, _, last = name.rpartition(".")
            del module
            return model.get_submodule(owner), last
    raise UsageError(
        "expected the path of a module", f"got '{path}'", "Give a name of named_modules()."
    )

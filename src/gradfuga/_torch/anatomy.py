"""Find a model's layers or activations by the paths that a diagnosis uses."""

from __future__ import annotations

from collections import Counter
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
NORMS = frozenset(
    {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm}
)
_SHORTCUTS = ("shortcut", "downsample", "skip", "identity")  # names of what is beside a branch
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


def branch_ends(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return what the residual branches that are added at `paths` put out last.

    A path is that of a layer, or of a sum in a block (``blocks.3/add``). Of a block with one sum it
    is the layer registered last, shortcuts apart, or the normalization right behind it; of one with
    several sums the last layer of as many parts.
    """
    sums = Counter(path.partition("#")[0].partition("/")[0] for path in dict.fromkeys(paths))
    known = modules_of(model)
    found: dict[str, nn.Module] = {}
    for block, count in sums.items():
        inside = {p: m for p, m in layers_at(model, (block,)).items() if not _shortcut(block, p)}
        parts: dict[str, str] = {}
        for path in inside:
            parts[path.removeprefix(block).lstrip(".").partition(".")[0]] = path
        for path in list(parts.values())[-count:]:
            end = _behind(list(known), path)
            is_norm = end in known and type(known[end]) in NORMS and _opens_with_layer(known, block)
            found[end if is_norm else path] = known[end if is_norm else path]
    return found


def _shortcut(block: str, path: str) -> bool:
    return any(word in path.removeprefix(block).lower() for word in _SHORTCUTS)


def _behind(order: Sequence[str], path: str) -> str:
    """Return the path registered right after `path` beside it, "" where nothing is."""
    place = order.index(path) + 1
    beside = place < len(order) and order[place].rpartition(".")[0] == path.rpartition(".")[0]
    return order[place] if beside else ""


def _opens_with_layer(known: Mapping[str, nn.Module], block: str) -> bool:
    """Whether a block's first part is a layer, so that normalizations stand behind layers."""
    kinds = (type(m) for p, m in known.items() if p.startswith(f"{block}."))
    return next(
        (issubclass(k, LAYERS) for k in kinds if issubclass(k, LAYERS) or k in NORMS), False
    )


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

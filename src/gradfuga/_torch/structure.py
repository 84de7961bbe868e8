"""Change what a model is built of: activations, normalizations, blocks, recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .._edits import InsertNormalization, MoveNormalization, ReplaceRecurrent, SwapActivation
from ..theory.activations import knows
from ..theory.isometric_activation import isometric
from .anatomy import (
    LAYERS,
    MODULES,
    inside_closed,
    layers_at,
    modules_of,
    name_of_activation,
    parent_of,
)
from .graft import StretchedActivation, Swap, attach_activation, graft_of, grafted

NORMALIZATION = "normalization"  # the name of an inserted module on its layer
_CHANNELS = 8  # a group of an image; Wu and He 2018 found 16 best, small networks have fewer
_UNITS = 32  # a group of a table: N values cost the gradient sqrt(1 - 2 / N), 3 % (theory)
Joined = list[tuple[nn.Parameter | None, nn.Parameter]]


class Scale:
    """A forward hook: multiply the output, by the layer's learned factor where it has one."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, module: nn.Module, args: object, output: Tensor) -> Tensor:
        """Return the scaled output."""
        del args
        learned = module._parameters.get("branch_scale")  # noqa: SLF001
        return output * (self.factor if learned is None else learned)


class Cast:
    """A forward pre-hook: give floating arguments the format of the weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...]:
        """Return the cast arguments."""
        del module
        return tuple(
            a.to(self.dtype) if isinstance(a, Tensor) and a.is_floating_point() else a for a in args
        )


def swap_activation(model: nn.Module, edit: SwapActivation) -> bool:
    """Put the new activation in place of modules and of calls; return whether one was found."""
    affine = isometric(edit.to) if edit.normalized else None
    swaps, kinds, named = _called(model, edit)
    if edit.of:
        kinds.add(edit.of)
    last_layer = _last_layer_place(model)
    found = False
    for place, (path, module) in enumerate(list(modules_of(model).items())):
        kind = name_of_activation(module)
        if not kind:
            continue
        of_a_kind = kind in kinds or (not edit.paths and not edit.of)
        hidden = place < last_layer
        if path not in named and not (of_a_kind and hidden and not _only_calls(edit)):
            continue
        fresh = (
            MODULES[edit.to]() if affine is None else StretchedActivation(edit.to, affine)
        )  # fmt: skip
        _succeed(model, path, module, fresh)
        found = True
    if swaps:
        graft = grafted(model, {})
        for key, calls in swaps.items():
            graft.swaps[key] = Swap(edit.to, affine, frozenset(calls))
        found = True
    return found


def _only_calls(edit: SwapActivation) -> bool:
    """Whether all places of the edit are function calls, so that modules are not meant."""
    return bool(edit.paths) and all(_call_of(path) is not None for path in edit.paths)


def _call_of(path: str) -> tuple[str, str, int] | None:
    """Read a path such as ``blocks.2/sigmoid#1`` as (module, activation, ordinal or 0)."""
    plain, _, number = path.partition("#")
    module, _, name = plain.rpartition("/")
    if not knows(name) or (module == "" and "." in name):
        return None
    return module, name, int(number) if number.isdigit() else 0


def _called(
    model: nn.Module, edit: SwapActivation
) -> tuple[dict[tuple[str, str], set[int]], set[str], set[str]]:
    """Return the calls that the edit names, the kinds of activation modules, and their paths."""
    known = modules_of(model)
    swaps: dict[tuple[str, str], set[int]] = {}
    kinds: set[str] = set()
    named: set[str] = set()
    for path in edit.paths:
        plain = path.partition("#")[0]
        if plain in known:
            named.add(plain)
            if kind := name_of_activation(known[plain]):
                kinds.add(kind)
            continue
        call = _call_of(path)
        if call is not None:
            module, name, number = call
            swaps.setdefault((module, name), set())
            if number:
                swaps[(module, name)].add(number)
    if not edit.paths and edit.of:
        swaps = {(path, edit.of): set() for path in known}
    return swaps, kinds, named


def _last_layer_place(model: nn.Module) -> int:
    """Return the place of the layer registered last: an activation behind it is the output's.

    A lone activation module that is shared by all layers may stand there too: it is hidden.
    """
    places = [p for p, m in enumerate(modules_of(model).values()) if isinstance(m, LAYERS)]
    return max(places, default=0)


def _succeed(model: nn.Module, path: str, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in the place of `old`, under the same name, with its mode and its hooks."""
    new.train(old.training)
    graft = graft_of(model)
    if graft is None:
        new._forward_hooks.update(old._forward_hooks)  # noqa: SLF001
        new._forward_pre_hooks.update(old._forward_pre_hooks)  # noqa: SLF001
    else:
        attach_activation(model, new)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is old and name:
            owner, last = parent_of(model, name)
            owner._modules[last] = new  # noqa: SLF001
    del path


class Normalize:
    """A forward hook: normalize a layer's output with the module that the layer holds."""

    def __call__(self, module: nn.Module, args: object, output: Tensor) -> Tensor:
        """Return the normalized output; a Linear's leading axes count as the batch."""
        del args
        normalization = module._modules[NORMALIZATION]  # noqa: SLF001
        assert normalization is not None
        if isinstance(module, nn.Linear) and output.dim() != 2:  # noqa: PLR2004
            flat = output.reshape(-1, output.shape[-1])
            return _rows(normalization, flat).reshape(output.shape)
        return _rows(normalization, output)


def _rows(normalization: nn.Module, x: Tensor) -> Tensor:
    """Normalize `x`; a lone example goes by the running statistics, one has no variance."""
    if isinstance(normalization, nn.modules.batchnorm._BatchNorm) and x.numel() == x.shape[1]:  # noqa: SLF001
        return F.batch_norm(
            x, normalization.running_mean, normalization.running_var,
            normalization.weight, normalization.bias, training=False, eps=normalization.eps,
        )  # fmt: skip
    out = normalization(x)
    assert isinstance(out, Tensor)
    return out


def insert_normalization(model: nn.Module, edit: InsertNormalization) -> Joined:
    """Normalize the outputs of layers, before whatever follows; return the new parameters."""
    joined: Joined = []
    for module in layers_at(model, edit.paths).values():
        if NORMALIZATION in module._modules:  # noqa: SLF001
            continue
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        new = _normalization(module, edit.to).to(device=weight.device)
        if weight.dtype is torch.float64:
            new = new.double()
        new.train(module.training)
        module.add_module(NORMALIZATION, new)
        # before the hooks that are there: a skip goes around the normalization too
        module.register_forward_hook(Normalize(), prepend=True)
        joined += [(weight, parameter) for parameter in new.parameters()]
    return joined


def _normalization(module: nn.Module, kind: str) -> nn.Module:
    if isinstance(module, nn.Linear):
        width = module.out_features
        makers = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "rms": nn.RMSNorm}
        return makers[kind](width) if kind in makers else _groups(width, _UNITS)
    assert isinstance(module, _ConvNd)
    width = module.out_channels
    if kind == "batch":
        axes = module.weight.dim() - 2
        return (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[axes - 1](width)
    # over all channels and places of one example, which is what LayerNorm means for an image
    return nn.GroupNorm(1, width) if kind in ("layer", "rms") else _groups(width, _CHANNELS)


def _groups(width: int, size: int) -> nn.GroupNorm:
    groups = max(width // size, 1)
    while width % groups:
        groups -= 1
    return nn.GroupNorm(groups, width)


def move_normalization(model: nn.Module, edit: MoveNormalization) -> tuple[bool, Joined]:
    """Make torch's post-norm blocks pre-norm, or scale them as DeepNorm does.

    LN(alpha x + f) is LN(x + f / alpha): DeepNorm is a scale on the branches.
    """
    blocks = [
        module
        for module in model.modules()
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)
        and not module.norm_first
    ]
    joined: Joined = []
    for block in blocks:
        if edit.to == "pre":
            block.norm_first = True
        else:
            _deepen(block, len(blocks))
    if edit.to == "pre":
        for module in model.modules():
            joined.extend(_final_norm(module))
    return bool(blocks), joined


def _final_norm(module: nn.Module) -> Joined:
    """Give a stack of pre-norm blocks the normalization at its end that it then needs."""
    if not isinstance(module, nn.TransformerEncoder | nn.TransformerDecoder):
        return []
    first = module.layers[0]
    if module.norm is not None or not isinstance(
        first, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer
    ):
        return []
    weight = first.linear1.weight
    module.norm = nn.LayerNorm(first.linear1.in_features, device=weight.device, dtype=weight.dtype)
    assert isinstance(weight, nn.Parameter)
    return [(weight, parameter) for parameter in module.norm.parameters()]


def _deepen(block: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, blocks: int) -> None:
    alpha, beta = (2.0 * blocks) ** 0.25, (8.0 * blocks) ** -0.25
    drops = [block.dropout1, block.dropout2]
    attentions = [block.self_attn]
    if isinstance(block, nn.TransformerDecoderLayer):
        drops.append(block.dropout3)
        attentions.append(block.multihead_attn)
    for drop in drops:  # the last module of each branch
        drop.register_forward_hook(Scale(1.0 / alpha))
    with torch.no_grad():
        for layer in (block.linear1, block.linear2, *(each.out_proj for each in attentions)):
            layer.weight.mul_(beta)
        for attention in attentions:
            attention.in_proj_weight.chunk(3)[2].mul_(beta)  # queries, keys, values: the last


class OnlyHidden:
    """Hooks that let an LSTM be called like a plain RNN, without a cell state."""

    def before(self, module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...]:
        """Give the initial state a cell of zeros."""
        del module
        if len(args) > 1 and isinstance(args[1], Tensor):
            return (args[0], (args[1], torch.zeros_like(args[1])), *args[2:])
        return args

    def after(self, module: nn.Module, args: object, output: object) -> object:
        """Hand back the hidden state alone."""
        del module, args
        match output:
            case (sequence, (hidden, _cell)):
                return sequence, hidden
            case (hidden, _cell):
                return hidden
        return output


def replace_recurrent(
    model: nn.Module, edit: ReplaceRecurrent
) -> dict[int, tuple[nn.Parameter, ...]]:
    """Put gated layers in the place of plain ones; return which parameters came for which."""
    closed = inside_closed(model)
    replaced: dict[int, tuple[nn.Parameter, ...]] = {}
    for path, old in list(modules_of(model).items()):
        if id(old) in closed or type(old) not in (nn.RNN, nn.RNNCell) or not path:
            continue
        if edit.paths and not _named(path, edit.paths):
            continue
        new = _gated(old, edit.to)
        gone, came = list(old.parameters()), tuple(new.parameters())
        replaced |= {id(p): (() if place else came) for place, p in enumerate(gone)}
        _succeed(model, path, old, new)
    return replaced


def _named(path: str, paths: Sequence[str]) -> bool:
    return any(f"{each}.".startswith(f"{path}.") for each in paths)


def _gated(old: nn.Module, kind: str) -> nn.Module:
    weight = next(old.parameters())
    where = {"device": weight.device, "dtype": weight.dtype}
    new: nn.Module
    if isinstance(old, nn.RNNCell):
        maker = nn.GRUCell if kind == "gru" else nn.LSTMCell
        new = maker(old.input_size, old.hidden_size, bias=old.bias, **where)
    else:
        assert isinstance(old, nn.RNN)
        makers = {"gru": nn.GRU, "lstm": nn.LSTM}
        new = makers[kind](
            old.input_size, old.hidden_size, old.num_layers, bias=old.bias,
            batch_first=old.batch_first, dropout=old.dropout,
            bidirectional=old.bidirectional, **where,
        )  # fmt: skip
    if kind == "lstm":
        adapter = OnlyHidden()
        new.register_forward_pre_hook(adapter.before)
        new.register_forward_hook(adapter.after)
    return new

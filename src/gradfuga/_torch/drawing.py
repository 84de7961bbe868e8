"""Draw weights and biases of layers anew: the edits of an initialization."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from .._edits import Initialize, SetGateBias
from .anatomy import RECURRENT

_GATES = {"RNN": 1, "RNNCell": 1, "GRU": 3, "GRUCell": 3, "LSTM": 4, "LSTMCell": 4}
# torch stacks the gates: LSTM input, forget, cell, output; GRU reset, update, new.
_INPUT, _FORGET, _UPDATE = 0, 1, 1


def fans(module: nn.Module, weight: Tensor) -> tuple[float, float]:
    """Return how many inputs one output of a layer sums over, and the reverse."""
    field = weight[0][0].numel() if weight.dim() > 2 else 1  # noqa: PLR2004 (a kernel has more)
    if isinstance(module, nn.Embedding):
        return 1.0, float(weight.shape[1])
    if isinstance(module, _ConvTransposeNd):
        per_step = field / math.prod(module.stride)
        return weight.shape[0] / module.groups * per_step, float(weight.shape[1] * field)
    return float(weight.shape[1] * field), float(weight.shape[0] * field)


@torch.no_grad()
def draw(module: nn.Module, edit: Initialize) -> None:
    """Draw the weight of one layer as `edit` says; its bias becomes zero."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    fill(weight, edit, *fans(module, weight))
    bias = module._parameters.get("bias")  # noqa: SLF001
    if bias is not None:
        bias.zero_()


def fill(weight: Tensor, edit: Initialize, fan_in: float, fan_out: float) -> None:
    """Draw a weight in place: each of its outputs sums over `fan_in` inputs."""
    gain = edit.gain
    match edit.scheme:
        case _ if gain == 0.0:
            weight.zero_()
        case "fan_in":
            weight.normal_(0.0, gain / math.sqrt(fan_in))
        case "fan_average":
            weight.normal_(0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)))
        case "orthogonal":
            exact = torch.empty_like(weight, dtype=torch.float32)  # QR knows no half precision
            weight.copy_(nn.init.orthogonal_(exact, gain))
        case "normal":
            weight.normal_(0.0, gain)
        case "identity":
            weight.zero_()
            weight.flatten(1).fill_diagonal_(gain)


def _stacked(module: nn.Module, stem: str) -> Iterator[tuple[Tensor, ...]]:
    """Yield the gates' blocks of every parameter of a recurrent layer whose name begins so."""
    gates = _GATES[type(module).__name__]
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith(stem):
            yield parameter.chunk(gates)


@torch.no_grad()
def draw_recurrent(module: nn.Module, edit: Initialize) -> None:
    """Draw the hidden-to-hidden weights gate by gate; the biases of a plain RNN go to zero."""
    for blocks in _stacked(module, "weight_hh"):
        _fill_gates(blocks, edit)
    if _GATES[type(module).__name__] == 1:
        for blocks in _stacked(module, "bias"):
            blocks[0].zero_()


@torch.no_grad()
def draw_loops(model: nn.Module, edit: Initialize) -> bool:
    """Draw the named square weights that a loop of the user's own applies again and again."""
    named = dict(model.named_parameters())
    found = [named[path] for path in edit.paths if path in named and "weight_hh" not in path]
    square = [weight for weight in found if weight.dim() == 2 and len(weight) == weight.shape[1]]  # noqa: PLR2004
    for weight in square:
        fill(weight, edit, float(weight.shape[1]), float(weight.shape[0]))
    return bool(square)


@torch.no_grad()
def draw_inputs(path: str, module: nn.Module, edit: Initialize) -> bool:
    """Draw the named input-to-hidden weights of the recurrent layer at `path` gate by gate."""
    start = f"{path}." if path else ""
    own = [p for n, p in module.named_parameters(recurse=False) if start + n in edit.paths]
    for parameter in own:
        _fill_gates(parameter.chunk(_GATES[type(module).__name__]), edit)
    return bool(own)


def _fill_gates(blocks: tuple[Tensor, ...], edit: Initialize) -> None:
    for block in blocks:
        fill(block, edit, float(block.shape[1]), float(block.shape[0]))


@torch.no_grad()
def open_gates(module: nn.Module, edit: SetGateBias) -> bool:
    """Set the bias of the gate that keeps the state; False where there is no such gate."""
    gates = _GATES.get(type(module).__name__, 1)
    if not isinstance(module, RECURRENT) or gates == 1:
        return False
    keeps = _FORGET if gates == 4 else _UPDATE  # noqa: PLR2004
    found = False
    # torch adds two biases: the sum is set, in the input's
    for ih, hh in zip(_stacked(module, "bias_ih"), _stacked(module, "bias_hh"), strict=True):
        found = True
        hh[keeps].zero_()
        if edit.horizon is None:
            ih[keeps].fill_(edit.value)
            continue
        ih[keeps].uniform_(1.0, max(edit.horizon - 1.0, 1.0 + 1e-6)).log_()
        if gates == 4:  # noqa: PLR2004
            ih[_INPUT].copy_(-ih[keeps])
            hh[_INPUT].zero_()
    return found

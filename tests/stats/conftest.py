"""Runs a statistic where it runs in earnest: in a hook of a real backward pass."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradfuga._contracts import NodeView

# What makes the host wait for the device, or gives a shape that depends on the values.
_WAITING = ("_local_scalar_dense", "is_nonzero", "nonzero", "unique", "masked_select", "equal")


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not name.startswith(_WAITING), f"the statistic waits for the device: {name}"
        assert "rand" not in name, f"the statistic draws random numbers: {name}"
        return func(*args, **(kwargs or {}))


class Measured(dict):
    """The statistics by name as floats, with the gradients that the node saw."""

    grad_output: torch.Tensor
    grad_inputs: tuple


def _nodes(output):
    found, waiting = [], [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        found.append(node)
        waiting += [parent for parent, _ in node.next_functions]
    return found


def _saved(node, name):
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None
    return value if isinstance(value, torch.Tensor) else None


def _setting(node, name):
    value = getattr(node, f"_saved_{name}", None)
    if isinstance(value, str):
        return float(value == "tanh")
    return float(value) if isinstance(value, bool | int | float) else None


def _tensors(node, view):
    saved = [_saved(node, name[7:]) for name in dir(node) if name.startswith("_saved_")]
    users = (*saved, view.grad_output, *view.grad_inputs)
    return [t for t in users if t is not None and t.layout is torch.strided]


def _measured(statistic, node, grad_inputs, grad_output):
    view = NodeView(
        name=node.name(),
        saved=lambda name: _saved(node, name),
        setting=lambda name: _setting(node, name),
        grad_output=grad_output,
        grad_inputs=grad_inputs,
    )
    users = _tensors(node, view)
    before = [tensor.clone() for tensor in users]
    with torch.no_grad(), NoWaiting():
        values = statistic.measure(view)
    for tensor, copy in zip(users, before, strict=True):
        torch.testing.assert_close(tensor, copy, rtol=0, atol=0, equal_nan=True)
    addresses = {t.untyped_storage().data_ptr() for t in users if t.numel()}
    for name, value in values.items():
        assert value.shape == (), name
        assert value.dtype in (torch.float32, torch.float64), name
        assert value.untyped_storage().data_ptr() not in addresses, f"{name} keeps a user's tensor"
        assert not value.requires_grad, name
    out = Measured({name: value.item() for name, value in values.items()})
    out.grad_output = grad_output.clone()
    out.grad_inputs = tuple(None if g is None else g.clone() for g in grad_inputs)
    return out


@pytest.fixture
def measure():
    """Backpropagate `cotangent` (ones by default) and measure the one node the statistic takes.

    Checks on the way what every statistic must hold: 0-d floats come back, nothing of the user's
    is changed or kept, nothing waits for the device, no random number is drawn.
    """

    def run(statistic, output, cotangent=None):
        taken = [n for n in _nodes(output) if n.name().partition("Backward")[0] in statistic.nodes]
        (node,) = taken
        results = []

        def hook(grad_inputs, grad_outputs):
            results.append(_measured(statistic, node, grad_inputs, grad_outputs[0]))

        handle = node.register_hook(hook)
        output.backward(torch.ones_like(output) if cotangent is None else cotangent)
        handle.remove()
        (result,) = results
        return result

    return run

"""The edits that take a function of their own in source: its text, and the statement that calls it.

Each does what the edit does in memory, with the same numbers: under one seed, the same training.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._edits import (
    Calibrate,
    ClipGradient,
    Edit,
    Initialize,
    ReviveUnits,
    SetGateBias,
    StandardizeInput,
)
from .drawing import drawn, number


@dataclass(frozen=True, slots=True)
class Recipe:
    """A function, and where it is called.

    Attributes:
        function: its definition.
        call: the statement; ``{model}`` and ``{optimizer}`` stand for the user's expressions.
        built: the call comes after the optimizer is built, not before.
    """

    function: str
    call: str
    built: bool = False


def recipe(edit: Edit) -> Recipe | None:
    """Return the recipe of an edit, None where it has none."""
    match edit:
        case Calibrate(two_sided=False):
            return Recipe(_CALIBRATE, f"calibrate({_layers(edit.paths)})\n")
        case ReviveUnits():
            return Recipe(_REVIVE, f"revive_dead_units({_layers(edit.paths)})\n")
        case Initialize(recurrent=True):
            draw = drawn(edit, "gate")
            return Recipe(_RECURRENCE.replace("<draw>", draw), "draw_recurrence({model})\n")
        case SetGateBias(horizon=None):
            value = number(edit.value)
            return Recipe(_OPEN.replace("<value>", value), "open_gates({model})\n")
        case SetGateBias():
            assert edit.horizon is not None
            top = number(max(edit.horizon - 1.0, 1.0 + 1e-6))
            return Recipe(_CHRONO, f"open_gates({{model}}, {top})\n")
        case StandardizeInput():
            return Recipe(_STANDARDIZE, "{model}.register_forward_pre_hook(Standardize())\n")
        case ClipGradient(method="agc"):
            call = f"{{optimizer}}.register_step_pre_hook(ClipUnits({edit.threshold!r}))\n"
            return Recipe(_CLIP_UNITS, call, built=True)
        case ClipGradient(method="quantile"):
            call = f"{{optimizer}}.register_step_pre_hook(AutoClip({edit.threshold!r}))\n"
            return Recipe(_AUTO_CLIP, call, built=True)
        case _:
            return None


def _layers(paths: tuple[str, ...]) -> str:
    """Return the arguments that name the layers: the model, and their paths where they matter."""
    if not paths:
        return "{model}"
    names = dict.fromkeys(path.partition("#")[0].partition("/")[0] for path in paths)
    return "{model}, " + repr(list(names)).replace("'", '"')


_FIRST = '''
def on_first_batch(model, names, look):
    """Let `look` see each hidden layer's output, and change it, in one run on the first batch."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    hidden = [layers[name] for name in layers if name in names] if names else (
        list(layers.values())[:-1]
    )

    @torch.no_grad()
    def first(module, args, kwargs):
        handle.remove()
        buffers = [buffer.clone() for buffer in model.buffers()]
        with torch.random.fork_rng(devices=[]):
            hooks = look(hidden)
            model(*args, **kwargs)
        for hook in hooks:
            hook.remove()
        for buffer, before in zip(model.buffers(), buffers):
            buffer.copy_(before)

    handle = model.register_forward_pre_hook(first, prepend=True, with_kwargs=True)
'''
_CALIBRATE = (
    _FIRST
    + '''

def calibrate(model, names=None):
    """Make the first batch leave every hidden layer with unit size (LSUV, Mishkin & Matas 2016)."""

    def look(layers):
        for layer in layers:
            torch.nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                torch.nn.init.zeros_(layer.bias)
        done = set()

        def scale(layer, args, output):
            size = float(output.float().square().mean().sqrt())
            if layer in done or size <= 1e-12:
                return output
            done.add(layer)
            layer.weight.div_(size)
            return output / size

        return [layer.register_forward_hook(scale, prepend=True) for layer in layers]

    on_first_batch(model, names, look)
'''
)
_REVIVE = (
    _FIRST
    + '''

def revive_dead_units(model, names=None):
    """Draw the incoming weights of units anew that the first batch never makes positive."""

    def revive(layer, args, output):
        axis = output.dim() - 1 if isinstance(layer, torch.nn.Linear) else 1
        dead = (output.movedim(axis, 0).flatten(1) <= 0).all(dim=1)
        if dead.any():
            fresh = torch.empty_like(layer.weight).normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
            layer.weight[dead] = fresh[dead]
            if layer.bias is not None:
                layer.bias[dead] = 0.0

    on_first_batch(model, names, lambda layers: [m.register_forward_hook(revive) for m in layers])
'''
)
_STANDARDIZE = '''
class Standardize:
    """Take off the mean of the model's first input and divide it by its spread."""

    mean = spread = None

    def __call__(self, module, args):
        x = args[0]
        if self.mean is None:
            # features are the last axis of a table, the channels of an image or a signal
            axes = (0,) if x.dim() == 2 else (0, *range(2, x.dim()))
            self.mean = x.mean(axes, keepdim=True)
            spread = x.std(axes, keepdim=True, correction=0)
            self.spread = torch.where(spread > 1e-12, spread, torch.ones_like(spread))
        return ((x - self.mean) / self.spread, *args[1:])
'''
_CLIP_UNITS = '''
class ClipUnits:
    """Bound each unit's gradient by its weight's norm, before a step (AGC, Brock et al. 2021)."""

    def __init__(self, ratio, least=1e-3):
        self.ratio, self.least = ratio, least

    @torch.no_grad()
    def __call__(self, optimizer, args, kwargs):
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            if p.grad is None or p.grad.is_sparse:
                continue
            bound = self.ratio * self.norm(p).clamp_min(self.least)
            p.grad.mul_((bound / self.norm(p.grad).clamp_min(1e-12)).clamp_max(1.0))

    def norm(self, x):
        axes = tuple(range(1, x.dim()))
        return torch.linalg.vector_norm(x, dim=axes, keepdim=True) if axes else x.abs()
'''
_AUTO_CLIP = '''
class AutoClip:
    """Clip at a quantile of all gradient norms so far, before a step (Seetharaman et al. 2020)."""

    def __init__(self, quantile):
        self.quantile, self.norms = quantile, []

    def __call__(self, optimizer, args, kwargs):
        given = (p for group in optimizer.param_groups for p in group["params"])
        held = [p for p in given if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in held])
        if torch.isfinite(norm):
            self.norms = sorted([*self.norms, float(norm)])
        if self.norms:
            bound = self.norms[int(self.quantile * (len(self.norms) - 1))]
            torch.nn.utils.clip_grads_with_norm_(held, bound, norm)
'''
# torch stacks gates: LSTM input, forget, cell, output; GRU reset, update, new
_RECURRENCE = '''
def draw_recurrence(model):
    """Draw the hidden-to-hidden weights of recurrent layers, gate by gate."""
    for layer in model.modules():
        kind = type(layer).__name__.removesuffix("Cell")
        if kind in ("RNN", "GRU", "LSTM"):
            for name, p in layer.named_parameters(recurse=False):
                if name.startswith("weight_hh"):
                    for gate in p.data.split(p.shape[1]):
                        <draw>
                elif name.startswith("bias") and kind == "RNN":
                    torch.nn.init.zeros_(p)
'''
_OPEN = '''
def open_gates(model):
    """Start the gates that keep the state of LSTMs and GRUs open, by their biases."""
    for layer in model.modules():
        gates = {"GRU": 3, "LSTM": 4}.get(type(layer).__name__.removesuffix("Cell"))
        for name, p in layer.named_parameters(recurse=False) if gates else ():
            if name.startswith("bias"):
                p.data.chunk(gates)[1].fill_(<value> if "_ih" in name else 0.0)
'''
_CHRONO = '''
def open_gates(model, longest):
    """Let LSTMs and GRUs start with memories of 1 to `longest` steps (Tallec & Ollivier 2018)."""
    for layer in model.modules():
        gates = {"GRU": 3, "LSTM": 4}.get(type(layer).__name__.removesuffix("Cell"))
        for name, p in layer.named_parameters(recurse=False) if gates else ():
            if name.startswith("bias"):
                blocks = p.data.chunk(gates)
                blocks[1].uniform_(1.0, longest).log_() if "_ih" in name else blocks[1].zero_()
                if gates == 4:  # the input gate closes as the forget gate opens
                    blocks[0].copy_(-blocks[1])
'''

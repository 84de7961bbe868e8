"""The edits that take a function of their own in source: its text, and the statement that calls it.

Each does what the edit does in memory, with the same numbers: under one seed, the same training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .._edits import (
    AddSkip,
    Calibrate,
    ClipGradient,
    Edit,
    Initialize,
    InsertNormalization,
    MoveNormalization,
    ReviveUnits,
    SetGateBias,
    SetLayerRates,
    SetPrecision,
    StandardizeInput,
)
from ._names import CLASS_OF, LAYER_WIDTH
from .clipping import AUTO_CLIP, CLIP_UNITS, ZCLIP
from .drawing import drawn, number
from .first_batch import BOTH_WAYS, CALIBRATE, REVIVE, STANDARDIZE
from .skips import AROUND

_CALLED = re.compile(rf"\.(?:{'|'.join(CLASS_OF)})\(")  # torch.relu(x), F.relu(x), x.relu()


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


def recipe(edit: Edit, source: str) -> Recipe | None:
    """Return the recipe of an edit for a file with the text `source`, None where it has none."""
    match edit:
        case Calibrate(two_sided=False):
            return Recipe(CALIBRATE, f"calibrate({named_layers(edit.paths)})\n")
        case Calibrate():
            call = f"CalibrateBothWays({named_layers(edit.paths)})\n"
            return _behind_activations(BOTH_WAYS, call, source)
        case ReviveUnits():
            return Recipe(REVIVE, f"revive_dead_units({named_layers(edit.paths)})\n")
        case Initialize(recurrent=True, inputs=True):
            return Recipe(_by_name(_INPUTS, edit, "gate"), "draw_inputs({model})\n")
        case Initialize(recurrent=True) if _of_a_loop(edit, source):
            return Recipe(_by_name(_LOOPS, edit, "p.data"), "draw_recurrence({model})\n")
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
            return Recipe(STANDARDIZE, "{model}.register_forward_pre_hook(Standardize())\n")
        case ClipGradient(method="agc"):
            return _before_steps(CLIP_UNITS, f"ClipUnits({edit.threshold!r})")
        case ClipGradient(method="quantile"):
            return _before_steps(AUTO_CLIP, f"AutoClip({edit.threshold!r})")
        case ClipGradient(method="zclip"):
            return _before_steps(ZCLIP, f"ZClip({edit.threshold!r})")
        case SetLayerRates():
            rates = ", ".join(
                f'"{path}": {factor!r}'
                for path, factor in zip(edit.paths, edit.factors, strict=False)
            )
            call = f"set_layer_rates({{optimizer}}, {{model}}, {{{rates}}})\n"
            return Recipe(_LAYER_RATES, call, built=True)
        case MoveNormalization(to="deepnorm"):
            return Recipe(_DEEP, "scale_deep_transformer({model})\n")
        case SetPrecision(to="float32_weights"):
            return Recipe(_FLOAT32, "keep_float32_weights({model})\n")
        case InsertNormalization():
            layers = _kinds(LAYER_WIDTH, source) or _kinds(LAYER_WIDTH, " ".join(LAYER_WIDTH))
            kinds = layers if layers.startswith("(") else f"({layers},)"
            text = _NORMALIZE.replace("<layers>", kinds).replace("<norm>", _norm(edit, layers))
            function = f"{_GROUPS}\n{text}" if edit.to == "group" else text
            return Recipe(function, f"normalize_layers({named_layers(edit.paths)})\n")
        case AddSkip():
            call = f"AddSkips({named_layers(edit.paths)})\n"
            return _behind_activations(_around(edit), call, source)
        case _:
            return None


def _by_name(function: str, edit: Initialize, weight: str) -> str:
    """Return a function that draws the weights that the edit names, each as `weight` in there."""
    names = "".join(f"    {path!r},\n" for path in edit.paths)
    return function.replace("<draw>", drawn(edit, weight)).replace("<names>", names)


def _of_a_loop(edit: Initialize, source: str) -> bool:
    """Whether the weights that are named are those of a loop, not of torch's recurrent layers."""
    linear = any(path.rpartition(".")[2] == "weight" for path in edit.paths)
    return bool(edit.paths) and (linear or not _kinds(_RECURRENT, source))


def _behind_activations(function: str, call: str, source: str) -> Recipe | None:
    """Return a recipe that hooks activation modules; a mere call has none that could be hooked.

    Where the file shows no activation at all, the model is built in another one.
    """
    found = _kinds(CLASS_OF.values(), source)
    if found:
        return Recipe(function.replace("<activations>", found), call)
    if _CALLED.search(source):
        return None
    kinds = "".join(f"    torch.nn.{kind},\n" for kind in CLASS_OF.values())
    whole = function.replace("<activations>", "ACTIVATIONS")
    return Recipe(f"\nACTIVATIONS = (\n{kinds})\n{whole}", call)


def _around(edit: AddSkip) -> str:
    scale = "len(layers) ** -0.5" if edit.scale is None else repr(edit.scale)
    factor, made = "self.scale", ""
    if edit.learned:
        factor = "layer.skip_scale"
        made = "layer.skip_scale = torch.nn.Parameter(torch.tensor(self.scale))\n            "
    values = {"<scale>": scale, "<factor>": factor, "<parameter>": made}
    text = AROUND
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _before_steps(function: str, call: str) -> Recipe:
    return Recipe(function, f"{{optimizer}}.register_step_pre_hook({call})\n", built=True)


def named_layers(paths: tuple[str, ...]) -> str:
    """Return the arguments that name the layers: the model, and their paths where they matter."""
    if not paths:
        return "{model}"
    names = dict.fromkeys(path.partition("#")[0].partition("/")[0] for path in paths)
    return "{model}, " + repr(list(names)).replace("'", '"')


def _kinds(names: Iterable[str], source: str) -> str:
    """Return the classes of torch.nn that `source` names, as an argument of isinstance."""
    found = [f"torch.nn.{name}" for name in names if re.search(rf"\b{name}\b", source)]
    return found[0] if len(found) == 1 else f"({', '.join(found)})" if found else ""


def _norm(edit: InsertNormalization, layers: str) -> str:
    """Return the statements that build the normalization behind `layer`, of width `width`."""
    linear = {
        "batch": "torch.nn.BatchNorm1d(width)",
        "layer": "torch.nn.LayerNorm(width)",
        "rms": "torch.nn.RMSNorm(width)",
        "group": "torch.nn.GroupNorm(groups(width, 32), width)",
    }[edit.to]
    groups = "1" if edit.to in ("layer", "rms") else "groups(width, 8)"
    kinds = [kind for kind in LAYER_WIDTH if f"torch.nn.{kind}" in layers]
    made = {
        kind: linear
        if kind == "Linear"
        else f"torch.nn.BatchNorm{kind[4:]}(width)"
        if edit.to == "batch"
        else f"torch.nn.GroupNorm({groups}, width)"
        for kind in kinds
    }
    if len(set(made.values())) == 1:
        return f"norm = {made[kinds[0]]}"
    choice = ", ".join(f"torch.nn.{kind}: {norm}" for kind, norm in made.items())
    return (
        "norm = {\n            "
        + choice.replace("), ", "),\n            ")
        + (",\n        }[type(layer)]")
    )


_RECURRENT = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
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
_LOOPS = '''
DRAWN = (
<names>)


def draw_recurrence(model):
    """Draw the weights that the loop applies again and again."""
    for name, p in model.named_parameters():
        if name in DRAWN:
            <draw>
'''
_INPUTS = '''
DRAWN = (
<names>)


def draw_inputs(model):
    """Draw the input-to-hidden weights that `DRAWN` names, gate by gate."""
    for path, layer in model.named_modules():
        gates = {"RNN": 1, "GRU": 3, "LSTM": 4}.get(type(layer).__name__.removesuffix("Cell"))
        for name, p in layer.named_parameters(recurse=False) if gates else ():
            if f"{path}.{name}".removeprefix(".") in DRAWN:
                for gate in p.data.chunk(gates):
                    <draw>
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
_LAYER_RATES = '''
def set_layer_rates(optimizer, model, factors):
    """Multiply the learning rate of some layers, which get parameter groups of their own."""
    owners = {p: name.rpartition(".")[0] for name, p in model.named_parameters()}
    for layer, factor in factors.items():
        for group in list(optimizer.param_groups):
            own = [p for p in group["params"] if owners.get(p) == layer]
            rest = [p for p in group["params"] if owners.get(p) != layer]
            if own and rest:
                group["params"] = rest
                optimizer.add_param_group({**group, "params": own, "lr": factor * group["lr"]})
            elif own:
                group["lr"] = factor * group["lr"]
'''
_DEEP = '''
def scale_deep_transformer(model):
    """Scale torch's post-norm blocks for their number (DeepNorm, Wang et al. 2022)."""
    kinds = (torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer)
    blocks = [m for m in model.modules() if isinstance(m, kinds)]
    alpha, beta = (2 * len(blocks)) ** 0.25, (8 * len(blocks)) ** -0.25

    def shrink(module, args, output):  # LN(alpha x + f) is LN(x + f / alpha)
        return output * (1 / alpha)

    for block in blocks:
        for name, part in block.named_children():
            if name in ("dropout1", "dropout2", "dropout3"):
                part.register_forward_hook(shrink)
            elif name in ("linear1", "linear2"):
                part.weight.data.mul_(beta)
            elif name in ("self_attn", "multihead_attn"):
                part.out_proj.weight.data.mul_(beta)
                part.in_proj_weight.data.chunk(3)[2].mul_(beta)  # queries, keys, values
'''
_FLOAT32 = '''
def keep_float32_weights(model):
    """Keep the weights in float32, and compute in it."""
    model.float()

    def widen(module, args):
        return tuple(
            a.float() if torch.is_tensor(a) and a.is_floating_point() else a for a in args
        )

    model.register_forward_pre_hook(widen)
'''
_GROUPS = '''
def groups(width, size):
    """Return how many groups of about `size` units there are: a divisor of the width."""
    return next(g for g in range(max(width // size, 1), 0, -1) if width % g == 0)
'''
_NORMALIZE = '''
def normalize_layers(model, names=None):
    """Put a normalization behind each hidden layer."""
    kinds = <layers>
    layers = {name: m for name, m in model.named_modules() if type(m) in kinds}
    for name in [name for name in layers if name in names] if names else list(layers)[:-1]:
        layer, (parent, _, last) = layers[name], name.rpartition(".")
        width = layer.weight.shape[0]
        <norm>
        behind = torch.nn.Sequential(layer, norm.to(layer.weight))
        setattr(model.get_submodule(parent), last, behind)
'''

"""Write the statements that draw weights and biases anew, right before the optimizer is built.

They draw in the order, with the calls and with the numbers of the edits that are made in memory:
under one seed the two give equal weights.
"""

from __future__ import annotations

from .._edits import Initialize, SetBias, SetGateBias, Unfreeze

_RECURRENT = "(torch.nn.modules.rnn.RNNBase, torch.nn.modules.rnn.RNNCellBase)"


def drawing(edit: Initialize | SetBias | SetGateBias | Unfreeze, model: str) -> str:
    """Return the statements for `model`, an expression."""
    match edit:
        case Unfreeze():
            return f"for p in {model}.parameters():\n    p.requires_grad_(True)\n"
        case SetGateBias():
            return _gates(edit, model)
        case Initialize(recurrent=True):
            return (
                f"for layer in {model}.modules():\n"
                f"    if not isinstance(layer, {_RECURRENT}):\n"
                f"        continue\n"
                f"    for name, p in layer.named_parameters(recurse=False):\n"
                f'        if name.startswith("weight_hh"):\n'
                f"            for block in p.data.split(p.shape[1]):\n"
                f"                {_drawn(edit, 'block')}\n"
                f'        elif name.startswith("bias") and "RNN" in type(layer).__name__:\n'
                f"            torch.nn.init.zeros_(p)\n"
            )
        case Initialize():
            return _each(
                edit.paths, model, _drawn(edit, "layer.weight"), "torch.nn.init.zeros_(layer.bias)"
            )
        case SetBias():
            return _each(
                edit.paths, model, "", f"torch.nn.init.constant_(layer.bias, {edit.value:g})"
            )


def _each(paths: tuple[str, ...], model: str, weight: str, bias: str) -> str:
    """Return a loop over the layers at `paths`, or over all but the last."""
    if paths:
        names = ", ".join(repr(path.partition("#")[0].partition("/")[0]) for path in paths)
        comma = "," if len(paths) == 1 else ""
        head = (
            f"for name, layer in {model}.named_modules():\n"
            f"    if name not in ({names}{comma}):\n        continue\n"
        )
    else:
        head = (
            f"hidden_layers = [m for m in {model}.modules() if isinstance(m, "
            f"(torch.nn.Linear, torch.nn.Conv2d))][:-1]\nfor layer in hidden_layers:\n"
        )
    if weight:
        head += f"    {weight}\n"
    return f'{head}    if getattr(layer, "bias", None) is not None:\n        {bias}\n'


def _drawn(edit: Initialize, weight: str) -> str:
    gain, init = _number(edit.gain), "torch.nn.init"
    if edit.gain == 0.0:
        return f"{init}.zeros_({weight})"
    times = "" if edit.gain == 1.0 else f".data.mul_({gain})"
    return {
        "fan_in": f"{init}.normal_({weight}, std={gain} / {weight}[0].numel() ** 0.5)",
        "fan_average": f"{init}.xavier_normal_({weight}, gain={gain})",
        "orthogonal": f"{init}.orthogonal_({weight}, gain={gain})",
        "normal": f"{init}.normal_({weight}, std={gain})",
        "identity": f"{init}.eye_({weight}){times}",
    }[edit.scheme]


def _number(value: float) -> str:
    """Return `value` exactly, as a person would write it where there is a way.

    Example:
        >>> _number(2**0.5), _number(5 / 3), _number(0.25), _number(0.1 + 0.2)
        ('2 ** 0.5', '5 / 3', '0.25', '0.30000000000000004')
    """
    if value == 2**0.5:
        return "2 ** 0.5"
    if value == 5 / 3:
        return "5 / 3"
    short = f"{value:.4g}"
    return short if float(short) == value else repr(value)


def _gates(edit: SetGateBias, model: str) -> str:
    # torch stacks gates: LSTM input, forget, cell, output; GRU reset, update, new
    if edit.horizon is None:
        keeps, closes = f"gates[1].fill_({edit.value:g})", ""
    else:
        top = max(edit.horizon - 1.0, 1.0 + 1e-6)
        keeps = f"gates[1].uniform_(1.0, {_number(top)}).log_()"
        closes = (
            "            if len(gates) == 4:\n"
            '                gates[0].copy_(-gates[1] if "_ih" in name else gates[1])\n'
        )
    return (
        f"for layer in {model}.modules():\n"
        f'    if not isinstance(layer, {_RECURRENT}) or "RNN" in type(layer).__name__:\n'
        f"        continue\n"
        f"    for name, p in layer.named_parameters(recurse=False):\n"
        f'        if name.startswith("bias"):\n'
        f'            gates = p.data.chunk(4 if "LSTM" in type(layer).__name__ else 3)\n'
        f'            {keeps} if "_ih" in name else gates[1].zero_()\n'
        f"{closes}"
    )

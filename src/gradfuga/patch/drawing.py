"""Write the statements that draw weights and biases anew, right before the optimizer is built.

They draw in the order, with the calls and with the numbers of the edits that are made in memory:
under one seed the two give equal weights.
"""

from __future__ import annotations

from .._edits import Initialize, SetBias, Unfreeze

_LAYERS = ("Linear", "Conv1d", "Conv2d", "Conv3d")


def drawing(edit: Initialize | SetBias | Unfreeze, model: str, source: str) -> str:
    """Return the statements for `model`, an expression in `source`."""
    match edit:
        case Unfreeze():
            return f"for p in {model}.parameters():\n    p.requires_grad_(True)\n"
        case Initialize():
            return _each(
                edit.paths,
                model,
                source,
                weight=drawn(edit, "layer.weight"),
                bias="torch.nn.init.zeros_(layer.bias)",
            )
        case SetBias():
            return _each(
                edit.paths,
                model,
                source,
                weight="",
                bias=f"torch.nn.init.constant_(layer.bias, {number(edit.value)})",
            )


def _each(paths: tuple[str, ...], model: str, source: str, *, weight: str, bias: str) -> str:
    """Return a loop over the layers at `paths`, or over all but the last."""
    if paths:
        names = ", ".join(repr(path.partition("#")[0].partition("/")[0]) for path in paths)
        comma = "," if len(paths) == 1 else ""
        head = (
            f"for name, layer in {model}.named_modules():\n"
            f"    if name not in ({names}{comma}):\n        continue\n"
        )
    else:
        built = [kind for kind in _LAYERS if f"{kind}(" in source] or list(_LAYERS[:3])
        names = ", ".join(f"torch.nn.{kind}" for kind in built)
        kinds = names if len(built) == 1 else f"({names})"
        head = (
            f"hidden_layers = [m for m in {model}.modules() if isinstance(m, {kinds})][:-1]\n"
            "for layer in hidden_layers:\n"
        )
    if weight:
        head += f"    {weight}\n"
    return f'{head}    if getattr(layer, "bias", None) is not None:\n        {bias}\n'


def drawn(edit: Initialize, weight: str) -> str:
    """Return the statement that draws one weight, an expression."""
    gain, init = number(edit.gain), "torch.nn.init"
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


def number(value: float) -> str:
    """Return `value` exactly, as a person would write it where there is a way.

    Example:
        >>> number(2**0.5), number(5 / 3), number(0.25), number(0.1 + 0.2)
        ('2 ** 0.5', '5 / 3', '0.25', '0.30000000000000004')
    """
    if value == 2**0.5:
        return "2 ** 0.5"
    if value == 5 / 3:
        return "5 / 3"
    short = f"{value:.4g}"
    return short if float(short) == value else repr(value)

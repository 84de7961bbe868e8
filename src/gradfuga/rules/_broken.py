"""Say in words where a NaN or infinity came from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._messages import _
from ..flow import OpRole

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..analysis.first_nan import Break
    from ..flow import Op

_PRODUCTS = (OpRole.LINEAR, OpRole.RECURRENT, OpRole.ATTENTION)


def place_of(case: Case, found: Break) -> str:
    """Return one sentence on the op that made the first number that is none."""
    op = next((op for op in case.graph.ops if op.path == found.path), None)
    name = op.name if op is not None else found.path.rpartition("/")[2].partition("#")[0]
    how = found.how.value
    if how == "weight":
        return _weights(case, found)
    if how == "constant":
        text = _("It came in from outside, at '{path}': data or a target holds it at step {step}.")
    elif how == "backward":
        text = _backward(name)
    else:
        text = _forward(name, op, found)
    return text.format(
        path=found.path,
        step=found.step,
        op=name,
        low=f"{found.low:.3g}",
        high=f"{found.high:.3g}",
        largest=f"{found.largest:.3g}",
    )


def _forward(name: str, op: Op | None, found: Break) -> str:
    low, high = found.low, found.high
    texts = {
        "log": _("'{path}' took the logarithm of 0 at step {step}.")
        if low == 0.0
        else _("'{path}' took the logarithm of {low}, a negative number, at step {step}."),
        "sqrt": _("'{path}' took the square root of {low}, a negative number, at step {step}."),
        "pow": _("'{path}' raised numbers from {low} to {high} to a power that they have not."),
        "div": _("'{path}' divided by 0 at step {step}."),
        "exp": _(
            "'{path}' took the exponential of {high} at step {step}: beyond {largest}, the "
            "largest number of its format."
        ),
        "softmax": _("'{path}' took the softmax of a row in which everything is masked."),
        "std": _("'{path}' took the standard deviation of a single value at step {step}."),
        "var": _("'{path}' took the variance of a single value at step {step}."),
        "nll_loss": _("'{path}' took the mean over no target: all are ignored at step {step}."),
    }
    defined = {
        "log": low <= 0.0,
        "sqrt": low < 0.0,
        "pow": low < 0.0,
        "div": low <= 0.0 <= high,
        "softmax": True,
        "exp": high > math.log(found.largest) if found.largest > 0.0 else False,
        "std": True,
        "var": True,
        "nll_loss": True,
    }
    if defined.get(name, False):
        return texts[name]
    if op is not None and (
        op.role in _PRODUCTS or name in ("mul", "pow", "mse_loss", "add", "sum")
    ):
        return _(
            "'{path}' overflowed at step {step}: its inputs reach from {low} to {high}, its format "
            "ends at {largest}."
        )
    if math.isnan(low):
        return _("'{path}' made the first one at step {step}.")
    return _("'{path}' made it at step {step}, of finite numbers from {low} to {high}.")


def _backward(name: str) -> str:
    texts = {
        "sqrt": _(
            "The gradient broke at '{path}' at step {step}: the slope of a square root is infinite "
            "at 0."
        ),
        "linalg_vector_norm": _(
            "The gradient broke at '{path}' at step {step}: a norm has no slope where all is 0."
        ),
        "pow": _(
            "The gradient broke at '{path}' at step {step}: a power below 1 has an infinite slope "
            "at 0."
        ),
        "std": _(
            "The gradient broke at '{path}' at step {step}: a standard deviation has no slope "
            "where all values are the same."
        ),
        "div": _("The gradient broke at '{path}' at step {step}: it divides by 0, or nearly so."),
        "where": _(
            "The gradient broke at '{path}' at step {step}: the branch that was not chosen has an "
            "infinite slope, and 0 times that is NaN."
        ),
    }
    return texts.get(
        name,
        _(
            "The gradient broke at '{path}' at step {step}: what arrived there was finite, what it "
            "passed on was not."
        ),
    )


def _weights(case: Case, found: Break) -> str:
    del case
    first = _(
        "The weights at '{path}' were broken before step {step}, by the gradient or the update of "
        "the step before, which was not sampled."
    ).format(path=found.path, step=found.step)
    if found.suspects:
        which = _("Every broken weight lies below {suspects} and no sound one does.").format(
            suspects=", ".join(f"'{each}'" for each in found.suspects)
        )
        return f"{first} {which}"
    return first


def what_would_tell(found: Break | None) -> str:
    """Return how to see what was not seen; "" where the place is known."""
    if found is None:
        return _(
            "Where it began is not known: the step was not sampled, or runs on a device. --every 1 "
            "on the CPU samples them all."
        )
    if found.how.value == "weight":
        return _("--every 1 samples every step and shows the op.")
    return ""

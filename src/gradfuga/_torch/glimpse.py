"""Look at one loss between the samples: its targets, and nothing else of the step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .loss import LossTerm, read_term
from .norms import Measured
from .parts import Parts
from .plain_loss import read_plain
from .residuals import read_residual
from .vocabulary import is_native

_GLIMPSES = "the glimpses of the loss"

# Losses that are one node, which keeps its target; reduced by themselves, or by what follows.
_WHOLE = frozenset(
    {
        "NllLoss",
        "NllLoss2D",
        "MseLoss",
        "BinaryCrossEntropy",
        "BinaryCrossEntropyWithLogits",
        "SmoothL1Loss",
        "HuberLoss",
    }
)
# Differences that a script squares or takes the size of: the prediction is worked out again.
_WRITTEN_OUT = frozenset({"Pow", "Abs"})
_SCALINGS = frozenset({"Mul", "Div", "Neg"})  # by accumulation steps, by a gradient scaler
_MOST_SCALINGS = 3
_REDUCTIONS = frozenset({"Mean", "Sum"})
# Glimpses are as many as there are factors of e between the first and the last step, times this:
# 64 ln 2 = 44 in the second half of a run, however long, and 534 in 100,000 steps.
_DENSITY = 64


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What was seen of a loss, and the seconds that it took."""

    term: LossTerm
    seconds: float


def is_due(step: int, last: int) -> bool:
    """Whether a glimpse is due at `step`, after one at step `last`."""
    return step - last >= max(1, step // _DENSITY)


def glimpse_apart(roots: Sequence[Tensor], loss: Measured | None, parts: Parts) -> Glimpse | None:
    """Look at the targets of a step that is not sampled; that this fails costs glimpses alone.

    Args:
        roots: what the pass starts from.
        loss: its value.
        parts: of the observer that still work.
    """
    if loss is None or len(roots) != 1 or not parts.work(_GLIMPSES):
        return None
    try:
        return glimpse(roots[0], loss)
    except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
        parts.fail(_GLIMPSES, error)
        return None


def glimpse(root: Tensor, loss: Measured) -> Glimpse | None:
    """Look at the one term that the scalar `root` is, before its backward pass; None for others.

    Args:
        root: what `backward` starts from.
        loss: its value.
    """
    started = time.perf_counter()
    term = _term(root, loss)
    return None if term is None else Glimpse(term, time.perf_counter() - started)


def _term(root: Tensor, loss: Measured) -> LossTerm | None:
    node = root.grad_fn
    if isinstance(loss, float) and node is not None:
        plain = read_plain(node, loss)
        if plain is not None:
            return plain
    for _ in range(_MOST_SCALINGS):
        if _is_one_of(node, _SCALINGS):
            node = _only(node)
    if _is_one_of(node, _REDUCTIONS):
        node = _only(node)
    if node is None or not _is_one_of(node, _WHOLE | _WRITTEN_OUT):
        return None
    term = _read(node, torch.ones((), dtype=torch.float64, device=root.device))
    if term is None or node is root.grad_fn:
        return term
    return _read(node, torch.as_tensor(loss / term.value))


def _read(node: Node, gradient: Tensor) -> LossTerm | None:
    written_out = _is_one_of(node, _WRITTEN_OUT)
    return read_residual(node, gradient, ()) if written_out else read_term(node, gradient)


def _is_one_of(node: Node | None, names: frozenset[str]) -> bool:
    return node is not None and is_native(node.name()) and base_name(node.name()) in names


def _only(node: Node | None) -> Node | None:
    """Return the one node that `node` passes its gradient to, None where there are several."""
    learning = [child for child, _ in node.next_functions if child is not None] if node else []
    return learning[0] if len(learning) == 1 else None

"""Apply edits to a model, in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from .._edits import (
    AddSkip,
    Advise,
    Calibrate,
    Edit,
    Initialize,
    InsertNormalization,
    MoveNormalization,
    ReplaceRecurrent,
    ReviveUnits,
    ScaleBranch,
    SetBias,
    SetGateBias,
    SetPrecision,
    StandardizeInput,
    SwapActivation,
    Unfreeze,
)
from .._messages import _
from .anatomy import RECURRENT, branch_ends, layers_at, modules_of
from .drawing import draw, draw_inputs, draw_loops, draw_recurrent, open_gates
from .first_batch import Standardize, calibrate, revive
from .graft import SKIP_SCALE, grafted
from .optimizer_surgery import ON_OPTIMIZER, edit_optimizer, hand_over
from .structure import (
    Cast,
    Scale,
    insert_normalization,
    move_normalization,
    replace_recurrent,
    swap_activation,
)

Batch = tuple[object, ...]


class UnplacedError(Exception):
    """The model has no place for an edit; the text says why."""


@dataclass(slots=True)
class Operation:
    """What was done to one model.

    Attributes:
        done: the edits that were made.
        left: those that found no place, and why.
        replaced: the parameters that came for one that went, by the identity of that one.
        joined: (neighbor, newcomer) parameters: the newcomer trains as its neighbor does.
        waiting: what waits for the first batch.
    """

    done: list[Edit] = field(default_factory=list)
    left: list[tuple[Edit, str]] = field(default_factory=list)
    replaced: dict[int, tuple[nn.Parameter, ...]] = field(default_factory=dict)
    joined: list[tuple[nn.Parameter | None, nn.Parameter]] = field(default_factory=list)
    waiting: list[Callable[[nn.Module, Callable[[], None]], None]] = field(default_factory=list)


def apply(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    edits: Sequence[Edit],
    *,
    batch: Batch | None = None,
) -> Operation:
    """Apply `edits` to `model` in place, in order, and tell `optimizer` about it.

    Random numbers are drawn from the state at hand, which is put back: what the training draws
    afterwards is what it would have drawn.

    Args:
        model: the root module.
        optimizer: that of the model, whose groups get new parameters in place of replaced ones.
            Without one, edits of the optimizer are left.
        edits: in order.
        batch: positional arguments of the model. Edits that need data are made with it, or else
            at the model's first forward pass.

    Returns:
        What was done, and what was left.
    """
    operation = Operation()
    with random_state_kept(model):
        for edit in edits:
            if isinstance(edit, ON_OPTIMIZER):
                if optimizer is None:
                    operation.left.append((edit, _("There is no optimizer here.")))
                continue
            _attempt(operation, edit, partial(_operate, model, edit, operation))
        if operation.waiting and batch is not None:
            _on_batch(model, operation.waiting, batch)
        elif operation.waiting:
            _on_first_forward(model, operation.waiting)
    if optimizer is not None:
        hand_over(optimizer, operation.replaced, operation.joined)
        for edit in edits:
            if isinstance(edit, ON_OPTIMIZER):
                _attempt(operation, edit, partial(edit_optimizer, optimizer, edit, model))
    return operation


def _attempt(operation: Operation, edit: Edit, act: Callable[[], bool]) -> None:
    try:
        placed = act()
    except UnplacedError as error:
        operation.left.append((edit, str(error)))
        return
    if placed:
        operation.done.append(edit)
    else:
        operation.left.append((edit, _("Nothing at these places fits the edit.")))


def _operate(model: nn.Module, edit: Edit, operation: Operation) -> bool:
    """Make one edit; return whether it found a place."""
    match edit:
        case Advise():
            raise UnplacedError(_("This is for you to do."))
        case SwapActivation():
            return swap_activation(model, edit)
        case Initialize(recurrent=True, inputs=True):
            fed = _recurrent_at(model, edit.paths)
            drawn = [draw_inputs(path, module, edit) for path, module in fed.items()]
            return any(drawn)
        case Initialize(recurrent=True):
            loops = draw_loops(model, edit)
            layers = {} if loops else _recurrent_at(model, edit.paths)
            return _each(layers, partial(_draw_recurrent, edit)) or loops
        case Initialize():
            return _each(_drawable_at(model, edit.paths), partial(_draw, edit))
        case SetBias():
            return _each(layers_at(model, edit.paths), partial(_set_bias, edit))
        case SetGateBias():
            return _open_gates(model, edit)
        case Calibrate():
            layers = layers_at(model, edit.paths)
            graft = grafted(model, layers) if edit.two_sided else None
            operation.waiting.append(lambda _m, run: calibrate(layers, graft, run))
            return bool(layers)
        case ReviveUnits():
            layers = layers_at(model, edit.paths)
            operation.waiting.append(lambda _m, run: revive(layers, run))
            return bool(layers)
        case InsertNormalization():
            new = insert_normalization(model, edit)
            operation.joined += new
            return bool(new)
        case AddSkip():
            return _add_skip(model, edit, operation)
        case ScaleBranch():
            return _scale_branch(model, edit, operation)
        case MoveNormalization():
            moved, new = move_normalization(model, edit)
            operation.joined += new
            return moved
        case ReplaceRecurrent():
            replaced = replace_recurrent(model, edit)
            operation.replaced |= replaced
            return bool(replaced)
        case StandardizeInput():
            model.register_forward_pre_hook(Standardize())
            return True
        case SetPrecision():
            return _set_precision(model, edit)
        case Unfreeze():
            return _unfreeze(model, edit, operation)
        case _:
            raise UnplacedError(_("This edit lies outside of the model."))


def _each(layers: Mapping[str, nn.Module], act: Callable[[nn.Module], None]) -> bool:
    seen: set[int] = set()
    for module in layers.values():
        weight = module._parameters.get("weight")  # noqa: SLF001 (tied weights are drawn once)
        key = id(module) if weight is None else id(weight)
        if key not in seen:
            seen.add(key)
            act(module)
    return bool(layers)


def _draw(edit: Initialize, module: nn.Module) -> None:
    draw(module, edit)


def _draw_recurrent(edit: Initialize, module: nn.Module) -> None:
    draw_recurrent(module, edit)


@torch.no_grad()
def _set_bias(edit: SetBias, module: nn.Module) -> None:
    bias = module._parameters.get("bias")  # noqa: SLF001
    if bias is not None:
        bias.fill_(edit.value)


def _drawable_at(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return layers, and embeddings that are named outright."""
    known = modules_of(model)
    named = {path: known[path] for path in paths if isinstance(known.get(path), nn.Embedding)}
    return {**layers_at(model, paths), **named}


def _recurrent_at(model: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {
        p: m for p, m in modules_of(model).items() if isinstance(m, RECURRENT)
    }
    named = {
        p: m for p, m in found.items() if any(f"{each}.".startswith(f"{p}.") for each in paths)
    }
    return named or found


def _open_gates(model: nn.Module, edit: SetGateBias) -> bool:
    opened = [open_gates(module, edit) for module in _recurrent_at(model, edit.paths).values()]
    return any(opened)


def _keeps_shape(module: nn.Module) -> bool:
    """Whether a layer's output has its input's shape, as far as its settings tell."""
    if isinstance(module, nn.Linear):
        return module.in_features == module.out_features
    return bool(
        getattr(module, "in_channels", 0) == getattr(module, "out_channels", 1)
        and all(step == 1 for step in getattr(module, "stride", (2,)))
    )


def _add_skip(model: nn.Module, edit: AddSkip, operation: Operation) -> bool:
    layers = {p: m for p, m in layers_at(model, edit.paths).items() if _keeps_shape(m)}
    if not layers:
        return False
    scale = 1.0 / math.sqrt(len(layers)) if edit.scale is None else edit.scale
    graft = grafted(model, layers)
    for path, module in layers.items():
        graft.skips[path] = scale
        if edit.learned:
            operation.joined.append(_learned(module, SKIP_SCALE, scale))
    return True


def _scale_branch(model: nn.Module, edit: ScaleBranch, operation: Operation) -> bool:
    ends = branch_ends(model, edit.paths)
    scale = 1.0 / math.sqrt(max(len(ends), 1)) if edit.scale is None else edit.scale
    for module in ends.values():
        if edit.learned:
            operation.joined.append(_learned(module, "branch_scale", scale))
        module.register_forward_hook(Scale(scale))
    return bool(ends)


def _learned(
    module: nn.Module, name: str, start: float
) -> tuple[nn.Parameter | None, nn.Parameter]:
    weight = module._parameters.get("weight")  # noqa: SLF001
    like = torch.empty(0) if weight is None else weight
    new = nn.Parameter(torch.tensor(start, dtype=like.dtype, device=like.device))
    module.register_parameter(name, new)
    return weight, new


def _set_precision(model: nn.Module, edit: SetPrecision) -> bool:
    wanted = {"bfloat16": torch.bfloat16, "float32_weights": torch.float32}.get(edit.to)
    half = [p for p in model.parameters() if p.dtype in (torch.float16, torch.bfloat16)]
    if wanted is None or all(p.dtype is wanted for p in half):
        raise UnplacedError(_("The weights are in full precision; the format is set elsewhere."))
    model.to(wanted)
    model.register_forward_pre_hook(Cast(wanted))
    return True


def _unfreeze(model: nn.Module, edit: Unfreeze, operation: Operation) -> bool:
    found = False
    for name, parameter in model.named_parameters():
        chosen = not edit.paths or any(f"{name}.".startswith(f"{path}.") for path in edit.paths)
        if chosen and parameter.is_floating_point():
            found = found or not parameter.requires_grad
            parameter.requires_grad_(True)
            operation.joined.append((None, parameter))
    return found or bool(edit.paths)


def _on_batch(
    model: nn.Module,
    waiting: Sequence[Callable[[nn.Module, Callable[[], None]], None]],
    batch: Batch,
    kwargs: Mapping[str, object] | None = None,
) -> None:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        for act in waiting:
            act(model, lambda: model(*batch, **(kwargs or {})))
        for name, buffer in model.named_buffers():
            if name in buffers and buffer.shape == buffers[name].shape:
                buffer.copy_(buffers[name])


def _on_first_forward(
    model: nn.Module, waiting: Sequence[Callable[[nn.Module, Callable[[], None]], None]]
) -> None:
    busy: list[bool] = []

    def first(module: nn.Module, args: Batch, kwargs: dict[str, object]) -> None:
        if busy:
            return
        busy.append(True)
        handle.remove()
        with random_state_kept(module):
            _on_batch(module, waiting, args, kwargs)

    handle = model.register_forward_pre_hook(first, prepend=True, with_kwargs=True)


@contextmanager
def random_state_kept(model: nn.Module) -> Iterator[None]:
    """Put the random state of the CPU and of the model's devices back at the end."""
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)):
        yield

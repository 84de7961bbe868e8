"""Apply edits to the models of an unmodified script, when its optimizer is built.

Only for a process of our own, such as that of a trial: `Optimizer.__init__` is wrapped while the
transplant is open.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, final

import torch
from torch import Tensor, nn

from .._edits import Edit, LoosenClipping, SetLayerRates, SetPrecision, UseLogits
from .._messages import _
from .clipping import Clippings
from .loose_tensors import LooseTensors
from .loss_surgery import LogitLoss, bfloat16_autocast, scaled_backward
from .naming import names_of, variables
from .optimizer_surgery import ON_OPTIMIZER, Group, edit_optimizer, successors
from .surgery import Operation, apply

Optimizer = torch.optim.Optimizer


@final
class Transplant:
    """While open, every optimizer that is built gets an edited model's parameters.

    Args:
        edits: in order; paths are those of the diagnosis.
        model: class name of the diagnosed model (`Diagnosis.model`). Other trainings of the
            script, such as a GAN's other half, are left alone. "" for all.

    Attributes:
        operations: what was done, one entry for each optimizer that was edited.

    Example:
        >>> from gradfuga._edits import SwapActivation
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1))
        >>> with Transplant([SwapActivation("relu")]) as transplant:
        ...     optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> net[1], len(transplant.operations)
        (ReLU(), 1)
    """

    def __init__(self, edits: Sequence[Edit], *, model: str = "") -> None:
        self.edits = tuple(edits)
        self.model = model
        self.operations: list[Operation] = []
        outside = (UseLogits, LoosenClipping)
        self._outside = [e for e in edits if isinstance(e, outside) or _is_format(e)]
        self._inside = [e for e in edits if e not in self._outside]
        self._edited: list[nn.Module] = []
        self._optimizers: list[Optimizer] = []
        self._stack = ExitStack()
        self._loss: LogitLoss | None = None
        self._clippings: list[Clippings] = []

    def __enter__(self) -> Self:
        """Wrap what is to be wrapped."""
        original = Optimizer.__init__

        def build(optimizer: Optimizer, params: object, defaults: dict[str, object]) -> None:
            self._build(original, optimizer, params, defaults)

        Optimizer.__init__ = build  # type: ignore[method-assign, assignment]
        self._stack.callback(setattr, Optimizer, "__init__", original)
        for edit in self._outside:
            if isinstance(edit, UseLogits) and self._loss is None:
                self._loss = self._stack.enter_context(LogitLoss())
            elif isinstance(edit, LoosenClipping):
                self._clippings.append(self._stack.enter_context(Clippings(edit.factor)))
            elif isinstance(edit, SetPrecision) and edit.to == "scaled":
                self._stack.enter_context(scaled_backward(self._parameters))
            elif isinstance(edit, SetPrecision):
                self._stack.enter_context(bfloat16_autocast())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the process as it was; edited models stay edited."""
        self._stack.close()
        self._edited.clear()
        self._optimizers.clear()

    @property
    def placed(self) -> bool:
        """Whether at least one edit has found its place so far."""
        return self.has_placed(self.edits)

    def has_placed(self, edits: Iterable[Edit]) -> bool:
        """Whether at least one of `edits`, which are among those given, has found its place."""
        done = {_anywhere(edit) for operation in self.operations for edit in operation.done}
        if self._loss is not None and self._loss.changed > 0:
            done.update(_anywhere(edit) for edit in self._outside if isinstance(edit, UseLogits))
        for clipping in self._clippings:
            if clipping.loosened:
                done.add(LoosenClipping(clipping.factor))
        return any(_is_format(edit) or _anywhere(edit) in done for edit in edits)

    def _parameters(self) -> Iterator[nn.Parameter]:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                yield from group["params"]

    def _build(
        self,
        original: Callable[..., None],
        optimizer: Optimizer,
        params: object,
        defaults: dict[str, object],
    ) -> None:
        groups = _groups(params)
        if groups is None:
            original(optimizer, params, defaults)  # torch says what is wrong with them
            return
        parameters = [p for group in groups for p in _tensors(group)]
        tops, name = _owners(parameters)
        if self.model and name != self.model:
            original(optimizer, groups, defaults)
            return
        operation = Operation()
        for prefix, module in tops:
            if any(module is each for each in self._edited):
                continue
            self._edited.append(module)
            own = [e for e in _below(prefix, self._inside) if not isinstance(e, ON_OPTIMIZER)]
            done = apply(module, None, own)
            operation.done += done.done
            operation.left += done.left
            operation.replaced |= done.replaced
            operation.joined += done.joined
        if operation.replaced or operation.joined:
            _forget_names(groups)
        successors(groups, operation.replaced, operation.joined)
        original(optimizer, groups, defaults)
        if not tops:
            self._edit_loosely(optimizer, parameters, operation)
        for edit in self._inside:
            if isinstance(edit, ON_OPTIMIZER):
                if any(edit_optimizer(optimizer, e, m) for e, m in _each(tops, edit)):
                    operation.done.append(edit)
                else:
                    operation.left.append((edit, _("The optimizer has no such option.")))
        self._optimizers.append(optimizer)
        self.operations.append(operation)

    def _edit_loosely(
        self, optimizer: Optimizer, parameters: Sequence[Tensor], operation: Operation
    ) -> None:
        """Edit a network without modules where its weights are used, from now on."""
        loose = LooseTensors(_named(parameters), self._inside, operation.done.append)
        if loose:
            self._stack.enter_context(loose)
            optimizer.register_step_post_hook(lambda *_: loose.stepped())


def _named(parameters: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the parameters by all of their names."""
    names = names_of(parameters, [])
    return {name: p for p in parameters for name in names.parameters[id(p)]}


def _anywhere(edit: Edit) -> Edit:
    """Return the edit without its paths, which are told otherwise from inside a model."""
    return dataclasses.replace(edit, paths=())


def _is_format(edit: Edit) -> bool:
    return isinstance(edit, SetPrecision) and edit.to in ("scaled", "bfloat16")


def _each(
    tops: Sequence[tuple[str, nn.Module]], edit: Edit
) -> Iterable[tuple[Edit, nn.Module | None]]:
    """Return the edit for each model it concerns; once where it concerns the optimizer alone."""
    if not isinstance(edit, SetLayerRates):
        return [(edit, None)]
    return [(own, module) for prefix, module in tops for own in _below(prefix, [edit])]


def _groups(params: object) -> list[Group] | None:
    """Return what an optimizer was given as a list of groups, None where it is something else."""
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        return None
    given = list(params)
    if not given:
        return None
    if not isinstance(given[0], dict):
        return [{"params": given}]
    groups: list[Group] = []
    for group in given:
        inner = group["params"]
        groups.append({**group, "params": [inner] if isinstance(inner, Tensor) else list(inner)})
    return groups


def _tensors(group: Group) -> list[Tensor]:
    inner = group["params"]
    assert isinstance(inner, list)
    return [each[1] if isinstance(each, tuple) else each for each in inner]


def _forget_names(groups: Sequence[Group]) -> None:
    """Take the names off that torch accepts beside the parameters: newcomers have none."""
    for group in groups:
        group["params"] = _tensors(group)


def _owners(parameters: Sequence[Tensor]) -> tuple[list[tuple[str, nn.Module]], str]:
    """Return the modules that hold `parameters`, each with its prefix in paths, and their name."""
    wanted = {id(parameter) for parameter in parameters}
    alive: list[tuple[str, nn.Module]] = [
        ("", each)
        for each in gc.get_objects()
        # by its type: isinstance would ask objects for __class__, and some warn or act when asked
        if issubclass(type(each), nn.Module) and any(id(p) in wanted for p in each.parameters())
    ]
    names = names_of(parameters, [*alive, *variables()], frames=False)
    named = {id(module): module for _name, module in alive if id(module) in names.modules}
    inner = {
        id(part) for module in named.values() for part in module.modules() if part is not module
    }
    tops = [(names.modules[key], m) for key, m in named.items() if key not in inner]
    return tops, names.model


def _below(prefix: str, edits: Iterable[Edit]) -> list[Edit]:
    """Return the edits that concern the model at `prefix`, with paths as seen from it."""
    if not prefix:
        return list(edits)
    found: list[Edit] = []
    for edit in edits:
        own = [p for p in edit.paths if p == prefix or p.startswith((f"{prefix}.", f"{prefix}/"))]
        if edit.paths and not own:
            continue
        paths = tuple(path[len(prefix) :].lstrip("./") for path in own)
        if isinstance(edit, SetLayerRates):
            chosen = dict(zip(edit.paths, edit.factors, strict=False))
            factors = tuple(chosen[path] for path in own)
            found.append(dataclasses.replace(edit, paths=paths, factors=factors))
        else:
            found.append(dataclasses.replace(edit, paths=paths))
    return found

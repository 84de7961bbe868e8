"""Let a module run once more on parameters and buffers that are not the program's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .sharding import is_spread

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_KNOWN = ("torch", "gradfuga")  # whose hooks may run twice: they leave nothing behind
_PLAIN = (Tensor, nn.Parameter, nn.Buffer)
_DEEPEST = 3  # of lists in lists among a module's attributes


class CannotStandInError(Exception):
    """A module cannot be run again without a trace; the message says why."""


@final
class StandIns:
    """What a module holds at one moment, as copies that a pass may read, change and differentiate.

    A parameter's stand-in shares its values and has a gradient and hooks of its own; buffers, other
    tensors and containers of the module and its parts are copied.

    Args:
        module: before the call that is to be run again.

    Raises:
        CannotStandInError: the module is not of the kind that can be run again.
    """

    def __init__(self, module: nn.Module) -> None:
        self._copies: dict[int, tuple[object, object]] = {}  # by the original's identity
        self._versions: list[tuple[Tensor, int]] = []
        self._leaves: list[Tensor] = []
        self.parameters: dict[int, Tensor] = {}  # the original by its stand-in's identity
        parts = list(module.modules())
        for part in parts:
            _check(part)
        self._held = [(part, self._own(vars(part))) for part in parts]

    @property
    def leaves(self) -> list[Tensor]:
        """What stands for the parameters."""
        return self._leaves

    @property
    def unchanged(self) -> bool:
        """Whether the parameters still have the values that they had."""
        return all(tensor._version == version for tensor, version in self._versions)  # noqa: SLF001

    def copied(self, tensor: Tensor) -> Tensor | None:
        """Return what stands for `tensor`, None where it is not the module's own."""
        held = self._copies.get(id(tensor))
        return held[1] if held is not None else None  # type: ignore[return-value]  # a tensor for a tensor

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put everything in the place of what the module holds now, and that back afterwards."""
        now = [(part, dict(vars(part))) for part, _ in self._held]
        try:
            for part, own in self._held:
                _fill(vars(part), own)
            yield
        finally:
            for part, before in now:
                _fill(vars(part), before)

    def _own(self, attributes: dict[str, object]) -> dict[str, object]:
        # hooks and submodules stay what they are; the dicts that hold tensors are others
        kept = {*_HOOKS, "_modules"}
        return {n: v if n in kept else self._copy(v, 0) for n, v in attributes.items()}

    def _copy(self, value: object, depth: int) -> object:
        if isinstance(value, Tensor):
            return self._copy_tensor(value)
        if depth > _DEEPEST:
            return value
        kind = type(value)
        if kind in (list, tuple, set):
            return kind(self._copy(each, depth + 1) for each in value)  # type: ignore[attr-defined]  # a container
        if isinstance(value, dict):  # OrderedDict, defaultdict
            copied = value.copy()
            for key, each in value.items():
                copied[key] = self._copy(each, depth + 1)
            return copied
        return value

    def _copy_tensor(self, tensor: Tensor) -> Tensor:
        held = self._copies.get(id(tensor))
        if held is not None:
            return held[1]  # type: ignore[return-value]  # a tensor for a tensor
        if type(tensor) not in _PLAIN or tensor.is_inference():
            raise CannotStandInError(f"it holds a {type(tensor).__name__}")
        if not isinstance(tensor, nn.Parameter) and tensor.requires_grad:
            raise CannotStandInError("it holds a tensor with a gradient that is no parameter")
        copy: Tensor
        if isinstance(tensor, nn.Parameter):
            copy = nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
            self.parameters[id(copy)] = tensor
            self._leaves.append(copy)
            self._versions.append((tensor, tensor._version))  # noqa: SLF001
        else:
            copy = tensor.detach().clone()
        vars(copy).update(vars(tensor))
        self._copies[id(tensor)] = (tensor, copy)
        return copy


def _check(part: nn.Module) -> None:
    held = [*part._parameters.values(), *part._buffers.values()]  # noqa: SLF001
    if any(is_lazy(each) for each in held if each is not None):
        raise CannotStandInError("it has parameters without values yet")
    kind = type(part)
    talks = kind.__module__.startswith("torch.distributed") or kind.__name__ == "SyncBatchNorm"
    if (
        talks
        or isinstance(part, nn.parallel.DistributedDataParallel)
        or is_spread(each for each in held if each is not None)
    ):
        raise CannotStandInError("it talks to other processes")
    for name in _HOOKS:
        for hook in getattr(part, name).values():
            whose = getattr(hook, "__module__", None) or type(hook).__module__
            if whose.partition(".")[0] not in _KNOWN:
                raise CannotStandInError("it has hooks of the program's own")


def _fill(attributes: dict[str, object], wanted: dict[str, object]) -> None:
    """Make a module's attributes the wanted ones, touching only those that differ."""
    for name in [each for each in attributes if each not in wanted]:
        del attributes[name]
    for name, value in wanted.items():
        if name not in attributes or attributes[name] is not value:
            attributes[name] = value

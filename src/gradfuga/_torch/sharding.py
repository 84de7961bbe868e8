"""What one process holds of a tensor that is spread over several (DTensor, FSDP2)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_DTENSOR = "torch.distributed.tensor"
_PLAIN = frozenset({Tensor, nn.Parameter})  # what nearly all are: told apart without an isinstance


def _is_spread(tensor: Tensor) -> bool:
    if type(tensor) in _PLAIN:
        return False
    module = sys.modules.get(_DTENSOR)  # not imported for programs that have no such tensors
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Tensor) -> Tensor:
    """Return the values of `tensor` that lie in this process; no communication."""
    if type(tensor) in _PLAIN:
        return tensor
    return tensor._local_tensor if _is_spread(tensor) else tensor  # type: ignore[attr-defined]  # noqa: SLF001


def whole(tensor: Tensor) -> Tensor | None:
    """Return the values of `tensor` if all of them lie in this process, else None."""
    if not _is_spread(tensor):
        return tensor
    replicated = all(each.is_replicate() for each in _any(tensor).placements)
    return local(tensor) if replicated else None


def _any(tensor: Tensor) -> Any:  # noqa: ANN401 (a DTensor, whose class may not be imported)
    return tensor


@dataclass(frozen=True, slots=True)
class Part:
    """This process's part of one parameter.

    Attributes:
        counts: whether it is among those that complete what the first process holds: shards count
            once, however many replicas there are.
        share: of the parameter's values.
    """

    counts: bool
    share: float


def part_of(parameter: Tensor, rank: int) -> Part:
    """Return the part that process `rank`, this one, holds of `parameter`."""
    if not _is_spread(parameter):
        return Part(rank == 0, 1.0)
    spread = _any(parameter)
    ranks = spread.device_mesh.mesh
    first = (ranks == 0).nonzero()
    here = spread.device_mesh.get_coordinate()
    counts = len(first) > 0 and all(
        here[dim] == int(first[0][dim])
        for dim, placement in enumerate(spread.placements)
        if placement.is_replicate()
    )
    return Part(counts, local(parameter).numel() / max(parameter.numel(), 1))


def is_spread(parameters: Iterable[Tensor]) -> bool:
    """Whether any of them is a tensor of several processes, in parts or in copies."""
    return any(_is_spread(parameter) for parameter in parameters)


def is_sharded(parameters: Iterable[Tensor]) -> bool:
    """Whether other processes hold values of these parameters that this one does not."""
    return any(whole(parameter) is None for parameter in parameters)


def class_of(module: nn.Module) -> type[nn.Module]:
    """Return the user's class of a module: FSDP2 gives each a class of its own."""
    kind = type(module)
    made = kind.__name__.startswith("FSDP") and len(kind.__bases__) == 2  # noqa: PLR2004
    return kind.__bases__[1] if made and kind.__bases__[0].__name__ == "FSDPModule" else kind


def gathered(modules: Iterable[nn.Module]) -> dict[int, Tensor]:
    """Return, by the identity of each gathered parameter, the sharded one that it stands for.

    FSDP2 runs forward and backward on parameters of its own; the optimizer holds the others.
    """
    if "torch.distributed.fsdp" not in sys.modules:
        return {}
    pairs = (pair for root in modules for pair in _pairs(root))
    return {id(unsharded): sharded for unsharded, sharded in pairs}


def _pairs(root: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    from torch.distributed.fsdp import FSDPModule  # noqa: PLC0415 (loaded by the program)

    for module in root.modules():
        if not isinstance(module, FSDPModule):
            continue
        # nothing public tells them apart while the parameters are gathered
        state = module._get_fsdp_state()  # noqa: SLF001
        for group in state._fsdp_param_groups:  # noqa: SLF001
            for held in group.fsdp_params:
                if hasattr(held, "_unsharded_param"):
                    yield held._unsharded_param, held.sharded_param  # noqa: SLF001

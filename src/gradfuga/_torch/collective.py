"""Bring the processes of one distributed training together: one small all-reduce per flush."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, cast, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .._types import Kind
from .norms import Measured, resolve
from .parameter_rows import Column, Tier
from .parts import Parts
from .sharding import Part, is_sharded, is_spread, part_of

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import ProcessGroup

# How long a process waits for the others at the end of a step. They come from the same
# all-reduce of gradients, so that milliseconds are usual; beyond this one of them is gone,
# or observes another training.
PATIENCE = timedelta(seconds=20)

# At the multiples of this step the processes agree too, so that a burst need not wait for long.
AGREED_EVERY = 64

# How the parts of a parameter add up: squares of norms, counts; all else are shares of values.
_NORMS = frozenset({"norm", "wanted_norm"})
_COUNTS = frozenset({"nonfinite", "varying"})
_PEAK = "max_abs"  # the largest part's; a NaN, which cannot be compared, counts as infinite

_PART = "the exchange between processes"


def rank() -> int:
    """Return this process's place in its job, 0 where there is only one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def trained_together(parameters: Sequence[Tensor], called: Iterable[nn.Module]) -> bool:
    """Whether several processes train these parameters, by DDP or spread over them.

    Args:
        parameters: of the optimizer.
        called: the modules that a forward pass has called from outside.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return False
    averaged = nn.parallel.DistributedDataParallel
    return is_spread(parameters) or any(isinstance(module, averaged) for module in called)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What holds for all processes: mean losses by step, and the parameters as wholes."""

    losses: Sequence[tuple[int, Measured]]
    tier: Tier | None


@final
class Team:
    """The processes that train one model together.

    What the first one records is completed by the others. It alone decides which steps are
    sampled. The connection is the observer's own: no group of the program is used, so that the
    order of the program's collectives stays as it is.

    Args:
        parameters: of the optimizer.
        parts: of the observer that still work.

    Attributes:
        first: whether this process records.
        sharded: whether a process holds only a part of the parameters.
    """

    def __init__(self, parameters: Sequence[Tensor], *, parts: Parts) -> None:
        here = dist.get_rank()
        self.first = here == 0
        self.sharded = is_sharded(parameters)
        self._held: tuple[Part, ...] = tuple(part_of(each, here) for each in parameters)
        self._parts = parts
        self._losses: list[tuple[int, Measured]] = []
        self._next = -1
        self._group: ProcessGroup | None = None
        try:
            self._group = _connect(_signature(parameters))
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            parts.fail(_PART, error)

    @property
    def connected(self) -> bool:
        """Whether the other processes answer."""
        return self._group is not None

    @property
    def decides(self) -> bool:
        """Whether steps are sampled by agreement: alone with a part, there is nothing to read."""
        return self.connected or self.sharded

    def hold(self, step: int, loss: Measured) -> None:
        """Keep the loss of this process until the others' are known."""
        self._losses.append((step, loss))

    def due(self, step: int) -> bool:
        """Whether all have agreed to sample `step`."""
        return step == self._next

    def agree(self, proposal: int, tier: Tier | None = None) -> Agreement | None:
        """Exchange everything; every process calls it after the same steps.

        Args:
            proposal: the next step to sample, -1 for none soon; that of the first process counts.
            tier: of a sampled step.

        Returns:
            What holds for all; None where the others do not answer.
        """
        losses, self._losses = self._losses, []
        values = resolve([loss for _, loss in losses])
        columns = _columns(tier) if tier is not None and self.sharded else []
        added = [each for each in columns if each.statistic != _PEAK]
        parts = [self._contribution(each) for each in added]
        peaked = len(added) < len(columns)
        message = [float(proposal) if self.first else 0.0, 1.0, float(peaked), *values]
        summed = self._reduced([*message, *chain.from_iterable(parts)], dist.ReduceOp.SUM)
        if summed is None:
            self._losses = losses
            return None
        self._next, size = int(summed[0]), summed[1]
        start = len(message) - len(values)
        means = [
            (step, total / size)
            for (step, _), total in zip(losses, summed[start : len(message)], strict=True)
        ]
        if tier is None or not columns:
            return Agreement(means, tier)
        wholes = [
            _completed(*pair)
            for pair in zip(added, self._rows(summed[len(message) :]), strict=True)
        ]
        *recorded, given, stale = wholes
        keys = [key for key in tier.columns if key[1] != _PEAK]
        whole: dict[tuple[Kind, str], Column] = dict(zip(keys, recorded, strict=True))
        if summed[2] == size:  # a process that could not read its tape has none to compare
            whole |= self._largest(tier)
        return Agreement(means, Tier(whole, given, stale))

    def _rows(self, values: Sequence[float]) -> list[Sequence[float]]:
        """Return the values of each column apart."""
        width = len(self._held)
        return [values[start : start + width] for start in range(0, len(values), width)]

    def _largest(self, tier: Tier) -> dict[tuple[Kind, str], Column]:
        """Return the columns of largest values, over all parts; none if nobody answers."""
        mine = {key: column for key, column in tier.columns.items() if key[1] == _PEAK}
        values = chain.from_iterable(_known(column) for column in mine.values())
        message = [value if value == value else math.inf for value in values]  # noqa: PLR0124
        found = self._reduced(message, dist.ReduceOp.MAX)
        if found is None:
            return {}
        rows = zip(mine.items(), self._rows(found), strict=True)
        return {key: _where_known(column, row) for (key, column), row in rows}

    def _reduced(
        self, message: Sequence[float], how: dist.ReduceOp.RedOpType
    ) -> list[float] | None:
        if self._group is None:
            return None
        summed = torch.tensor(message, dtype=torch.float64)
        options = dist.distributed_c10d.AllreduceOptions()
        options.reduceOp = dist.ReduceOp(how)
        options.timeout = PATIENCE
        try:
            self._group.allreduce([summed], options).wait()
        except Exception as error:  # noqa: BLE001
            self._group, self._next = None, -1
            self._parts.fail(_PART, error)
            return None
        return list(summed.tolist())

    def _contribution(self, column: _Named) -> list[float]:
        """Return what this process adds: squares of norms, counts, or parts of a share."""
        values = _known(column.values)
        if column.statistic in _NORMS:
            values = [value * value for value in values]
        elif column.statistic not in _COUNTS:
            values = [value * part.share for value, part in zip(values, self._held, strict=True)]
        held = zip(values, self._held, strict=True)
        return [value if part.counts else 0.0 for value, part in held]

    def left(self) -> list[tuple[int, Measured]]:
        """Return the losses that the others were not asked about."""
        losses, self._losses = self._losses, []
        return losses


@dataclass(frozen=True, slots=True)
class _Named:
    """A column and its statistic, which tells how the parts of a parameter add up."""

    statistic: str
    values: Column


def _columns(tier: Tier) -> list[_Named]:
    recorded = [_Named(statistic, column) for (_, statistic), column in tier.columns.items()]
    return [*recorded, _Named("norm", tier.given), _Named("norm", tier.stale)]


def _known(column: Column) -> list[float]:
    return resolve([0.0 if value is None else value for value in column])


def _completed(column: _Named, summed: Sequence[float]) -> list[float | None]:
    wholes = [math.sqrt(value) for value in summed] if column.statistic in _NORMS else summed
    return _where_known(column.values, wholes)


def _where_known(column: Column, wholes: Sequence[float]) -> list[float | None]:
    pairs = zip(column, wholes, strict=True)
    return [None if part is None else value for part, value in pairs]


def _connect(signature: str) -> ProcessGroup:
    """Connect the processes, after each has said that it trains the same parameters."""
    here, size = dist.get_rank(), dist.get_world_size()
    # a group of our own: `new_group` would count it among the program's
    store = dist.distributed_c10d._get_default_store()  # noqa: SLF001
    turn = store.add(f"gradfuga/turn/{here}", 1)
    mine = dist.distributed_c10d.PrefixStore(f"gradfuga/{turn}", store)
    mine.set(str(here), signature)
    mine.wait([str(each) for each in range(size)], PATIENCE)
    if {mine.get(str(each)).decode() for each in range(size)} != {signature}:
        raise RuntimeError("the processes train different parameters")
    group = dist.ProcessGroupGloo(
        dist.distributed_c10d.PrefixStore("group", mine), here, size, PATIENCE
    )
    return cast("ProcessGroup", group)


def _signature(parameters: Sequence[Tensor]) -> str:
    shapes = repr([tuple(parameter.shape) for parameter in parameters])
    return hashlib.sha256(shapes.encode()).hexdigest()

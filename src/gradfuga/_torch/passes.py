"""Join the backward passes of one optimizer step: micro-batches, and parts of one objective."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType

import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import OpRole
from .first_nan import Breakage
from .glimpse import Glimpse
from .handed import Wanted
from .loss_path import loss_path
from .norms import Measured, dense
from .outputs import outputs_of
from .parameters import SeenGradient
from .tape import TapeRecord, added
from .walk import Walk

_OURS, _FRAMES = 4, 8  # frames between `backward` and `site_of`; how many beyond tell a place

Site = tuple[object, ...]


@dataclass(slots=True)
class Entry:
    """One backward pass waiting for its optimizer step.

    Attributes:
        loss: what it starts from, None where that is no single number.
        site: where the program calls it; micro-batches share one.
        record: what the tape showed, where it was read.
        gradients: of the parameters that the tape did not read, after the pass.
        ours: the seconds that our own code took.
        glimpsed: the loss's targets, now and then, of a step that is not sampled.
        broken: what made the loss no number, where it is none.
        taken_by: optimizers that have stepped on it.
        begins: trainings whose gradients were empty when it began, after an earlier pass.
        wanted: what was asked for, where it was `torch.autograd.grad`.
    """

    loss: Measured | None
    site: Site = ()
    record: TapeRecord | None = None
    gradients: Mapping[int, SeenGradient] = field(default_factory=dict)
    ours: float = 0.0
    glimpsed: Glimpse | None = None
    broken: Breakage | None = None
    taken_by: list[int] = field(default_factory=list)
    begins: frozenset[int] = frozenset()
    wanted: Wanted | None = None

    @property
    def counts(self) -> bool:
        """Whether its gradients are those of the coming step, as far as one can know."""
        return self.wanted is None or self.wanted.was_handed_over


def site_of(roots: Sequence[Tensor]) -> Site:
    """Return the place in the program that runs a backward pass: its calls, and the loss's op."""
    found: list[object] = []
    frame: FrameType | None = sys._getframe(_OURS)  # noqa: SLF001
    while frame is not None and len(found) < 2 * _FRAMES:
        found += (id(frame.f_code), frame.f_lasti)  # a line's number has to be looked up
        frame = frame.f_back
    node = roots[0].grad_fn if roots else None
    return (*found, node.name() if node is not None else "")


def are_empty(parameters: Iterable[Tensor]) -> bool:
    """Whether no gradient is left: a pass that begins now owes nothing to those before."""
    held = [p.grad for p in parameters if p.grad is not None]
    # small biases come last; a device is not waited for: there a gradient of zeros counts as left
    return not any(not g.is_cpu or bool(dense(g).any()) for g in reversed(held))


def read_since(entries: Sequence[Entry]) -> list[TapeRecord]:
    """Return what the tapes of these passes showed."""
    return [entry.record for entry in entries if entry.record is not None]


def still_standing(entries: Sequence[Entry], training: int) -> list[Entry]:
    """Return the passes whose gradients the step is made of: from the last clearing on."""
    if len(entries) == 1:
        return list(entries)
    begun = [place for place, entry in enumerate(entries) if training in entry.begins]
    return list(entries[begun[-1] :] if begun else entries)


def loss_of_step(entries: Sequence[Entry]) -> Measured | None:
    """Return the objective of a step: the sum over its parts of the mean over micro-batches."""
    if len(entries) == 1:
        return entries[0].loss
    parts: dict[Site, list[Measured]] = {}
    for entry in entries:
        if entry.loss is not None:
            parts.setdefault(entry.site, []).append(entry.loss)
    return _sum([_sum(part) / len(part) for part in parts.values()]) if parts else None


def _sum(losses: Sequence[Measured]) -> Measured:
    if all(isinstance(loss, float) for loss in losses):
        return sum(losses)
    return torch.stack([torch.as_tensor(loss) for loss in losses]).sum()


def seen_gradients(entries: Sequence[Entry]) -> dict[int, SeenGradient]:
    """Return each parameter's gradient right after the last backward pass, before clipping."""
    seen: dict[int, SeenGradient] = {}
    for entry in entries:
        if entry.record is not None:
            seen.update(entry.record.weight_gradient)
        seen.update(entry.gradients)
    return seen


def record_of_step(entries: Sequence[Entry]) -> TapeRecord | None:
    """Return what the tapes of a step showed together, None where none was read.

    The first micro-batch stands for the others of its site. Passes from different sites are parts
    of one objective, and are joined as if their losses had been added before one backward pass.
    """
    first: dict[Site, TapeRecord] = {}
    for entry in entries:
        if entry.record is not None:
            first.setdefault(entry.site, entry.record)
    records = list(first.values())
    return _joined(records) if len(records) > 1 else next(iter(records), None)


def _joined(records: Sequence[TapeRecord]) -> TapeRecord:
    """Return one record of several.

    Each op keeps what it had; where two passes cross the same op (`retain_graph`), the norm is that
    of both gradients side by side: exact where they are orthogonal.
    """
    path, places = _union([record.walk for record in records])
    calls = tuple({id(c): c for record in records for c in record.calls}.values())
    losses = [record.loss for record in records]
    whole = replace(
        records[0],
        walk=path,
        spans=tuple(dict.fromkeys(s for record in records for s in record.spans)),
        calls=calls,
        read_sources=all(record.read_sources for record in records),
        outputs=outputs_of(path, calls, loss_path(path)),
        inputs=tuple({id(x): x for record in records for x in record.inputs}.values()),
        loss=_sum([loss for loss in losses if loss is not None]) if None not in losses else None,
        gradient={},
        edges={},
        statistics={},
        terms={},
        dropped={},
        shapes={},
        parameters=path.parameters,
        weight_gradient={k: v for record in records for k, v in record.weight_gradient.items()},
        stale={k: v for record in reversed(records) for k, v in record.stale.items()},
        curves=tuple(curve for record in records for curve in record.curves),
        read={k: v for record in records for k, v in record.read.items()},
    )
    for record, place in zip(records, places, strict=True):
        for old, norm in record.gradient.items():
            whole.gradient[place[old]] = added(whole.gradient.get(place[old]), norm)
        for (old, slot), norm in record.edges.items():
            key = place[old], slot
            whole.edges[key] = added(whole.edges.get(key), norm)
        whole.statistics.update({place[old]: v for old, v in record.statistics.items()})
        whole.terms.update({place[old]: v for old, v in record.terms.items()})
        whole.dropped.update({place[old]: p for old, p in record.dropped.items()})
        whole.shapes.update({place[old]: v for old, v in record.shapes.items()})
    return whole


def _union(walks: Sequence[Walk]) -> tuple[Walk, list[list[int]]]:
    """Return one walk over all ops, and where each walk's ops are in it.

    What a later walk adds consumes what the earlier ones hold, never the reverse: it comes first.
    """
    known: set[Node] = set()
    chosen: list[tuple[Walk, int]] = []
    for each in walks:
        new = [(each, place) for place, node in enumerate(each.nodes) if node not in known]
        known.update(each.nodes)
        chosen = new + chosen
    nodes = tuple(each.nodes[place] for each, place in chosen)
    index = {node: place for place, node in enumerate(nodes)}
    roles: tuple[OpRole, ...] = tuple(each.roles[place] for each, place in chosen)
    edges = {
        (index[each.nodes[c]], slot, index[each.nodes[p]])
        for each in walks
        for c, slot, p in each.edges
    }
    path = Walk(
        nodes=nodes,
        roles=roles,
        edges=tuple(sorted(edges)),
        leaves=tuple(each.leaves[place] for each, place in chosen),
        roots=tuple(dict.fromkeys(index[each.nodes[r]] for each in walks for r in each.roots)),
        detours={edge: to for each in walks for edge, to in each.detours.items()},
    )
    return path, [[index[node] for node in each.nodes] for each in walks]

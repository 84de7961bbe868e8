"""Read the tape: hook the nodes of one backward pass and measure what crosses them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from .._contracts import AbstractStatistic, NodeView
from ..flow import base_name
from .again import again
from .chains import find_chains
from .dropout import dropped_shares, with_dropout
from .fed import fed
from .lags import LagCurve
from .loss import LossTerm
from .loss_path import loss_path
from .loss_reader import LossReader
from .norms import Measured, norm
from .outputs import following_of, inside_of, outputs_of
from .parameters import SeenGradient, see_gradients
from .parts import Parts
from .quiet import quiet_ops
from .rerun import RecurrentCall
from .sharding import gathered, local, whole
from .spies import RootCall, Span
from .target_losses import target_losses
from .vocabulary import is_native
from .walk import Walk, walk

_TERMS = "the reading of the loss's terms"


@dataclass
class TapeRecord:
    """What one sampled backward pass showed, by position in `walk.nodes`.

    Attributes:
        loss: what `backward` was called on, None where that is no single number.
        gradient: |dL/d output| of each op.
        edges: |dL/d input| where the producer has several consumers, by (consumer, slot).
        statistics: 0-d tensors by op and name.
        terms: the loss terms.
        shapes: of each op's output.
        parameters: the reached parameters; `weight_gradient` their |gradient| right after this
            backward pass (unscaled by any clipping), `stale` its norms just before it,
            by identity.
        inputs: the data that went into the model.
        dropped: the probability by which a dropout drops values, by op.
        read_sources: whether the nodes carry tracebacks.
        curves: the gradient against the lag in every recurrence, where it was probed.
        read: at how many time steps the loss reads a recurrent layer's output directly, by
            autograd's number of the op that made it.
    """

    walk: Walk
    spans: tuple[Span, ...]
    calls: tuple[RootCall, ...]
    read_sources: bool
    outputs: tuple[int, ...]
    inputs: tuple[Tensor, ...] = ()
    dropped: dict[int, float] = field(default_factory=dict)
    loss: Measured | None = None
    gradient: dict[int, Measured] = field(default_factory=dict)
    edges: dict[tuple[int, int], Measured] = field(default_factory=dict)
    statistics: dict[int, Mapping[str, Tensor]] = field(default_factory=dict)
    terms: dict[int, LossTerm] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    parameters: tuple[Tensor, ...] = ()
    weight_gradient: Mapping[int, SeenGradient] = field(default_factory=dict)
    stale: dict[int, Measured] = field(default_factory=dict)
    curves: tuple[LagCurve, ...] = ()
    read: dict[int, Measured] = field(default_factory=dict)


@final
class Tape:
    """One sampled backward pass, from the walk to the last hook.

    Args:
        roots: what `backward` was called on.
        spans: module calls of the forward pass.
        calls: calls of modules from outside, with what came out.
        recurrent: calls of torch's recurrent layers.
        read_sources: whether anomaly mode was on in the forward pass.
        statistics: by the base name of the nodes they apply to.
        parts: of the observer that still work; a kind of op that cannot be read is one.
        walk: walks from the roots; through the eager passes of compiled modules where there are.
    """

    def __init__(
        self,
        roots: Sequence[Tensor],
        *,
        spans: Sequence[Span],
        calls: Sequence[RootCall],
        recurrent: Sequence[RecurrentCall] = (),
        read_sources: bool,
        statistics: Mapping[str, Sequence[AbstractStatistic]],
        parts: Parts,
        walk: Callable[[Sequence[Tensor], Mapping[int, Tensor]], Walk] = walk,
    ) -> None:
        path = walk(roots, gathered(call.module for call in calls))
        dropped = dropped_shares(path)
        path = with_dropout(path, dropped)
        powers = loss_path(path)
        self.record = TapeRecord(
            walk=path,
            spans=tuple(spans),
            calls=tuple(calls),
            read_sources=read_sources,
            outputs=outputs_of(path, calls, powers),
            dropped=dropped,
            inputs=tuple(x for call in calls for x in call.data) or fed(path),
        )
        self._statistics = statistics
        self._parts = parts
        self._handles: list[RemovableHandle] = []
        made = {call.made_by: call for call in recurrent if isinstance(call.output, Tensor)}
        numbers = [node._sequence_nr() for node in path.nodes]  # noqa: SLF001
        self._sequences = {p: made[n] for p, n in enumerate(numbers) if n in made}
        consumers = [0] * len(path.nodes)
        for _, _, producer in path.edges:
            consumers[producer] += 1
        self._shared: dict[int, list[int]] = {}
        for consumer, slot, producer in path.edges:
            if consumers[producer] > 1:
                self._shared.setdefault(consumer, []).append(slot)
        outputs = set(self.record.outputs)
        inside = outputs | inside_of(outputs, following_of(path), len(path.nodes))
        parameters = path.parameters
        self.chains = find_chains(path, partial(_names, calls))
        self._losses = LossReader(path, powers, frozenset(inside), self.record.calls)
        quiet = quiet_ops(path, self.chains) & inside - outputs
        self.record.parameters = parameters
        self.record.stale = {key: seen.norm for key, seen in see_gradients(parameters).items()}
        try:
            for place, node in enumerate(path.nodes):
                if place in quiet:
                    continue
                hook = partial(self._after, place, node, place not in inside)
                self._handles.append(node.register_hook(hook))
        except Exception:
            self._remove()
            raise

    def close(self, given: Mapping[int, SeenGradient] | None = None) -> None:
        """Remove every hook, after the backward pass, and look at the parameters' gradients.

        Args:
            given: the gradients that `torch.autograd.grad` has returned: they come in the place
                of those that the parameters hold, so that nothing of these is stale.
        """
        self._remove()
        record = self.record
        if given is not None:
            record.weight_gradient, record.stale = given, {}
        else:
            record.weight_gradient = see_gradients(record.parameters, with_peaks=True)

    def _remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _after(
        self,
        place: int,
        node: Node,
        above_output: bool,
        grad_inputs: tuple[Tensor | None, ...],
        grad_outputs: tuple[Tensor | None, ...],
    ) -> None:
        if not self._parts.work(_reading(node)):
            return
        try:
            if torch.is_grad_enabled():  # create_graph=True
                with torch.no_grad():
                    self._measure(place, node, above_output, grad_inputs, grad_outputs)
            else:
                self._measure(place, node, above_output, grad_inputs, grad_outputs)
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(_reading(node), error)

    def _measure(
        self,
        place: int,
        node: Node,
        above_output: bool,
        grad_inputs: tuple[Tensor | None, ...],
        grad_outputs: tuple[Tensor | None, ...],
    ) -> None:
        record = self.record
        present = [gradient for gradient in grad_outputs if gradient is not None]
        if not present or any(whole(gradient) is None for gradient in present):
            return  # of a tensor that is spread over processes only a part is here
        present = [local(gradient) for gradient in present]
        record.gradient[place] = added(record.gradient.get(place), _joint(present))
        record.shapes[place] = tuple(present[0].shape)
        call = self._sequences.get(place)
        if call is not None:
            record.read[call.made_by] = _read_steps(present[0], call)
        for slot in self._shared.get(place, ()):
            gradient = grad_inputs[slot] if slot < len(grad_inputs) else None
            if gradient is not None and whole(gradient) is not None:
                record.edges[place, slot] = norm(gradient)
        if not is_native(node.name()):
            return  # a user's own function may have any name and save anything
        self._read_loss(place, node, present[0])
        for statistic in self._statistics.get(base_name(node.name()), ()):
            if above_output and not statistic.of_the_loss:
                continue
            part = f"the statistic '{statistic.code}'"
            if not self._parts.work(part):
                continue
            try:
                left = tuple([g if g is None else whole(g) for g in grad_inputs])
                view = NodeView(
                    node.name(),
                    partial(_saved, node),
                    partial(_setting, node),
                    present[0],
                    left,
                    partial(again, node, present[0], left),
                )
                measured = statistic.measure(view)
            except Exception as error:  # noqa: BLE001
                self._parts.fail(part, error)
                continue
            if measured:
                record.statistics[place] = {**record.statistics.get(place, {}), **measured}

    def _read_loss(self, place: int, node: Node, gradient: Tensor) -> None:
        if not self._parts.work(_TERMS):
            return
        try:
            term = self._losses.read(place, gradient)
        except Exception as error:  # noqa: BLE001 (costs the baseline, not the step's gradients)
            self._parts.fail(_TERMS, error)
            return
        if term is not None and self.record.curves:  # what a memory reaches shows by target
            term = replace(term, losses=target_losses(node))
        if term is not None:
            self.record.terms[place] = term


def _names(calls: Sequence[RootCall]) -> dict[int, str]:
    """Return the names of the parameters of the modules that were called from outside."""
    return {id(p): name for call in calls for name, p in call.module.named_parameters()}


def _reading(node: Node) -> str:
    return f"the reading of '{base_name(node.name())}'"


def _read_steps(gradient: Tensor, call: RecurrentCall) -> Measured:
    """Return the number of time steps of a layer's output that have a gradient of their own."""
    if gradient.shape != call.output.shape:  # type: ignore[union-attr]  # a tensor, see __init__
        return 1.0  # of the last state alone
    others = [d for d in range(gradient.dim()) if d != call.time_axis]
    return torch.count_nonzero((gradient != 0).any(dim=others)).to(torch.float64)


def _saved(node: Node, name: str) -> Tensor | None:
    """Read a saved tensor; None where there is none or autograd will not give it (again)."""
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:  # changed in place, freed, or a checkpoint that unpacks only once
        return None
    return whole(value) if isinstance(value, Tensor) else None


def _setting(node: Node, name: str) -> float | None:
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None
    if isinstance(value, int | float):
        return value  # an int stays one: -1 comes as 2**64 - 1, which float would round
    if isinstance(value, str):
        return float(value == "tanh")  # the one setting that is a word: gelu's approximation
    return None


def _joint(gradients: Sequence[Tensor]) -> Measured:
    if len(gradients) == 1:
        return norm(gradients[0])
    total: Measured | None = None
    for gradient in gradients:
        total = added(total, norm(gradient))
    return total if total is not None else 0.0


def added(one: Measured | None, other: Measured) -> Measured:
    """Return the norm of two parts together."""
    if one is None:
        return other
    if isinstance(one, float) and isinstance(other, float):
        return math.hypot(one, other)
    both = torch.stack([torch.as_tensor(one), torch.as_tensor(other)])
    return norm(both)

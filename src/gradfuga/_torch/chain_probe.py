"""Take the cotangent of one step back along a chain, node by node, beside the user's backward pass.

Each node of the backward graph is a function of its gradient: called by hand it runs no hook,
accumulates nothing, and frees nothing. Where the fewest values cross from one step to the next, the
gradients that wait for earlier ops are, together, the gradient at the joint state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import Node

from ..flow import base_name
from .chains import Chain
from .lags import LagCurve, chosen_lags, summarize
from .recurrent_steps import Floats
from .state_cuts import StateCuts, find_cuts
from .vocabulary import is_native
from .walk import Walk

_MOST_STEPS = 512  # of longer chains the last ones
_MOST_NODES = 40_000
_RESCALE = 1e2  # beyond this factor the cotangent is brought back to one: fp16 ends at 6e-8
_SEED = 20
_SUMS = frozenset({"Add", "Sub", "Where"})  # a masked step keeps the whole state
_FLAT_SLOPE = 0.0125  # of a sigmoid: 5 % of its steepest, as in `recurrent_steps`


@torch.no_grad()
def probe(walk: Walk, chain: Chain) -> LagCurve | None:
    """Measure the gradient against the lag along `chain`, for a loss on its last known state.

    Args:
        walk: the backward graph, before the backward pass.
        chain: a recurrence in it.

    Returns:
        None where the chain cannot be taken back: a user's own function, a compiled region, a
        tensor that was changed in place.
    """
    uses = chain.uses[-_MOST_STEPS:]
    numbers = [node._sequence_nr() for node in walk.nodes]  # noqa: SLF001
    following: dict[int, list[tuple[int, int]]] = {}
    for consumer, slot, producer in walk.edges:
        following.setdefault(consumer, []).append((slot, producer))
    cuts = find_cuts(walk, chain, uses, following, numbers)
    if cuts is None:
        return None
    first, last = numbers[uses[0]], max(numbers[place] for place in cuts.start)
    inside = sorted(
        (
            place
            for place, depends in enumerate(chain.depends)
            if depends and first <= numbers[place] <= last
        ),
        key=lambda place: -numbers[place],
    )
    if len(inside) > _MOST_NODES or not all(is_native(walk.nodes[p].name()) for p in inside):
        return None
    try:
        with np.errstate(all="ignore"):  # a gradient that explodes overflows, and inf says so
            measured = _take_back(walk, cuts, inside, numbers)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    if measured is None:
        return None
    states, inputs = measured
    lags = chosen_lags(len(uses) - 1)
    rows = [lag - 1 for lag in lags if lag <= len(states)]
    if len(rows) < 2 or not np.isfinite(states[0]).any():  # noqa: PLR2004 (a curve)
        return None
    norm, spread = summarize(states[rows])
    statistics = {"time_steps": float(chain.total)}
    if len(chain.uses) < chain.total:
        statistics["time_cut"] = float(len(chain.uses))
    statistics["read_steps"] = float(_read_steps(walk, chain, numbers[chain.uses[-1]]))
    statistics.update(_gates(walk, inside, cuts.states, following))
    return LagCurve(
        id(chain.weight),
        backward=False,
        lag=lags[: len(rows)],
        norm=norm,
        spread=spread,
        input=summarize(inputs[rows])[0],
        statistics=statistics,
    )


def _read_steps(walk: Walk, chain: Chain, last: int) -> int:
    """Return at how many steps something beyond the recurrence reads a state directly.

    What runs after the last step and reads what an earlier step made: a stack of all states, an
    attention over them, a mean.
    """
    count = len(chain.uses)
    numbers = [node._sequence_nr() for node in walk.nodes]  # noqa: SLF001
    early = {
        chain.depends[producer]
        for consumer, _, producer in walk.edges
        if numbers[consumer] > last and 0 < chain.depends[producer] < count - 1
    }
    return 1 + len(early)


def _take_back(
    walk: Walk, cuts: StateCuts, inside: Sequence[int], numbers: Sequence[int]
) -> tuple[Floats, Floats] | None:
    """Return the norms at the joint state and at the inputs for lags 1, 2, ..., `[K, N]`."""
    position = {node: place for place, node in enumerate(walk.nodes)}
    waiting = _cotangents(walk, cuts.start)
    shapes = [held[0].shape for held in waiting.values()]
    examples = shapes[0][0] if all(len(shape) > 1 for shape in shapes) else 1
    members = frozenset(inside)
    states: list[Floats] = []
    inputs: list[Floats] = []
    entered: Floats = np.zeros(examples)  # squares of what goes to ops outside of the recurrence
    scale = 0.0  # log of what the waiting gradients have been divided by
    left = list(cuts.after)
    for place in inside:
        while left and numbers[place] <= left[0]:
            size = _norms([g for held in waiting.values() for g in held.values()], examples)
            states.append(size * np.exp(scale))
            inputs.append(np.sqrt(entered) * np.exp(scale))
            entered = np.zeros(examples)
            left.pop(0)
            largest = float(np.max(size, initial=0.0))
            if (
                math.isfinite(largest)
                and largest > 0.0
                and abs(math.log(largest)) > math.log(_RESCALE)
            ):
                waiting = {
                    p: {slot: g / largest for slot, g in held.items()}
                    for p, held in waiting.items()
                }
                scale += math.log(largest)
        held = waiting.pop(place, None)
        if held is None:
            continue
        node = walk.nodes[place]
        for (child, slot), gradient in zip(walk.nexts(place), _call(node, held), strict=False):
            if child is None or gradient is None:
                continue
            target = position.get(child)
            if target is None:
                continue  # a parameter, or what only leads to some
            if target in members:
                into = waiting.setdefault(target, {})
                into[slot] = into[slot] + gradient if slot in into else gradient
            else:
                entered = entered + _norms([gradient], examples) ** 2
        if not left:
            break
    if not states:
        return None
    return np.stack(states), np.stack(inputs)


def _cotangents(walk: Walk, start: Sequence[int]) -> dict[int, dict[int, Tensor]]:
    """Return a random cotangent at each op's first output, of joint norm 1 for each example."""
    generator = torch.Generator().manual_seed(_SEED)
    drawn: dict[int, Tensor] = {}
    for place in start:
        shape = tuple(walk.nodes[place]._input_metadata[0].shape)  # noqa: SLF001
        drawn[place] = torch.randn(shape, generator=generator, dtype=torch.float64)
    rows = {value.shape[0] if value.dim() > 1 else 1 for value in drawn.values()}
    count = rows.pop() if len(rows) == 1 else 1
    flat = torch.cat([value.reshape(count, -1) for value in drawn.values()], dim=1)
    norm = flat.norm(dim=1)
    out: dict[int, dict[int, Tensor]] = {}
    for place, value in drawn.items():
        like = walk.nodes[place]._input_metadata[0]  # noqa: SLF001
        unit = (value.reshape(count, -1) / norm[:, None]).reshape(value.shape)
        out[place] = {0: unit.to(device=like.device, dtype=like.dtype)}
    return out


def _call(node: Node, held: dict[int, Tensor]) -> tuple[Tensor | None, ...]:
    count = len(node._input_metadata)  # noqa: SLF001
    out = node(*(held.get(slot) for slot in range(count)))  # type: ignore[operator]  # a node is a function
    return out if isinstance(out, tuple) else (out,)


def _norms(gradients: Sequence[Tensor], examples: int) -> Floats:
    """Return the joint norm of some gradients, for each example where all have one row each."""
    total: Floats = np.zeros(examples)
    for gradient in gradients:
        wide = gradient.detach().to(torch.float64)
        if wide.dim() > 1 and wide.shape[0] == examples:
            part = wide.reshape(examples, -1).square().sum(dim=1).cpu().numpy()
        else:  # another layout: shared evenly, right for the whole
            part = np.full(examples, float(wide.square().sum()) / examples)
        total = total + part
    return np.sqrt(total)


def _gates(
    walk: Walk,
    inside: Sequence[int],
    states: frozenset[int],
    following: dict[int, list[tuple[int, int]]],
) -> dict[str, float]:
    """Return the mean of the gates that keep the state, and how many of all gates are flat.

    A gate that keeps the state is a sigmoid, or one less a sigmoid, that is multiplied with the
    state, where the product is a summand of the next one: a reset gate's goes through a layer.
    """
    name = {p: base_name(walk.nodes[p].name()) for p in inside}
    below = {p: [producer for _, producer in following.get(p, ())] for p in inside}
    summed: set[int] = set()  # what is a summand of a state, and the states
    for place in inside:  # latest first: an op's readers go before it
        if place in states or place in summed:
            summed.add(place)
            if name[place] in _SUMS:
                summed.update(below[place])
    is_gate = {p for p in inside if name[p] == "Sigmoid"}
    keeping: set[int] = set()
    leaving: set[int] = set()  # one less these keep
    for place in inside:
        if name[place] != "Mul" or place not in summed:
            continue
        # torch's GRU writes (h - n) z + n: the state is one op further down
        deeper = [far for p in below[place] if name.get(p) == "Sub" for far in below.get(p, ())]
        if states.isdisjoint((*below[place], *deeper)):
            continue
        keeping.update(p for p in below[place] if p in is_gate)
        less = [far for p in below[place] if name.get(p) == "Rsub" for far in below.get(p, ())]
        leaving.update(p for p in less if p in is_gate)
    out = {}
    gates = _results(walk, sorted(is_gate))
    if gates:
        flat = [float((v * (1.0 - v) < _FLAT_SLOPE).double().mean()) for v in gates]
        out["gate_flat"] = float(np.mean(flat))
    kept = [float(v.double().mean()) for v in _results(walk, sorted(keeping))]
    kept += [1.0 - float(v.double().mean()) for v in _results(walk, sorted(leaving))]
    if kept:
        out["gate_keep"] = float(np.mean(kept))
    return out


def _results(walk: Walk, places: Sequence[int]) -> list[Tensor]:
    """Return what some of the ops at `places` gave, at most 32 of them."""
    some = places[:: max(1, len(places) // 32) | 1]
    return [v for p in some if (v := _result(walk.nodes[p])) is not None]


def _result(node: Node) -> Tensor | None:
    try:
        value = getattr(node, "_saved_result", None)
    except RuntimeError:
        return None
    return value if isinstance(value, Tensor) else None

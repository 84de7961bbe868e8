"""Find the ops of a backward graph whose outputs are the model's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..flow import OpRole, base_name
from .loss_path import LossPath
from .spies import RootCall
from .vocabulary import MATCHED_OUTPUTS
from .walk import Walk

_STOPS = frozenset(
    {
        OpRole.LINEAR,
        OpRole.EMBEDDING,
        OpRole.RECURRENT,
        OpRole.ATTENTION,
        OpRole.ACTIVATION,
        OpRole.NORMALIZATION,
        OpRole.OPAQUE,
    }
)
_LAYERS = frozenset({OpRole.LINEAR, OpRole.EMBEDDING, OpRole.RECURRENT, OpRole.NORMALIZATION})
_SQUASHING = frozenset({"Sigmoid", "Tanh", "Softmax"})
# A likelihood that a script writes out: probabilities, kept off zero, picked, and then a log.
_LIMITS = frozenset({"Clamp", "ClampMin", "ClampMax"})
_PROBABILITIES = frozenset({"Softmax", "Sigmoid"}) | _LIMITS
_TO_A_LOG = _LIMITS | frozenset(
    {"Add", "Sub", "Rsub", "Index", "Gather", "Select", "View", "Squeeze", "Unsqueeze"}
)


def following_of(path: Walk) -> dict[int, list[int]]:
    """Return the ops that the gradient goes on to, by the op that it leaves."""
    following: dict[int, list[int]] = {}
    for consumer, _, producer in path.edges:
        following.setdefault(consumer, []).append(producer)
    return following


def outputs_of(path: Walk, calls: Sequence[RootCall], powers: LossPath) -> tuple[int, ...]:
    """Return the ops whose outputs are the model's output.

    Those are the tensors that calls from outside returned and that no other of them depends on;
    without any, the first ops that a network is made of on the way down from the loss.

    Args:
        path: the ops.
        calls: of modules, from outside.
        powers: to which the output of each op enters the loss.
    """
    made_by = {node._sequence_nr(): place for place, node in enumerate(path.nodes)}  # noqa: SLF001
    returned = {
        made_by[number]
        for call in calls
        for number, value in call.outputs
        if number in made_by and value.numel() > 1 and made_by[number] not in path.roots
    }
    following = following_of(path)
    consumers: dict[int, list[int]] = {}
    for consumer, _, producer in path.edges:
        consumers.setdefault(producer, []).append(consumer)
    if returned:
        outermost = _outermost(returned, following, len(path.nodes))
        inside = inside_of(outermost, following, len(path.nodes))
        # what a script computes on the way from the model's output to the loss is the loss's,
        # except for layers and for a squashed output (`mse_loss(torch.sigmoid(model(x)), y)`)
        missed = {
            place
            for place in _frontier(path, powers, following, stop_at=outermost | inside)
            if path.roles[place] in _LAYERS or base_name(path.nodes[place].name()) in _SQUASHING
        }
        found = sorted(_outermost(outermost | missed, following, len(path.nodes)))
    else:
        found = sorted(_frontier(path, powers, following, stop_at=set()))
    peeled = [_peel(path, place, following, consumers) for place in found]
    return tuple(dict.fromkeys(peeled))


def inside_of(places: set[int], following: Mapping[int, list[int]], count: int) -> set[int]:
    """Return the ops that the gradient at `places` goes on to."""
    inside: set[int] = set()
    for place in range(count):
        if place in places or place in inside:
            inside.update(following.get(place, ()))
    return inside


def _outermost(places: set[int], following: Mapping[int, list[int]], count: int) -> set[int]:
    """Return those of `places` that lie below no other."""
    return places - inside_of(places, following, count)


def _frontier(
    path: Walk, powers: LossPath, following: Mapping[int, list[int]], stop_at: set[int]
) -> set[int]:
    """Return the first network ops below the loss that do not lie below `stop_at`."""
    found: set[int] = set()
    stack, seen = list(path.roots), set(path.roots)
    while stack:
        place = stack.pop()
        if place in stop_at:
            continue
        # values that are merely summed up to the loss are its own: a hinge, a softplus
        own = powers.ops[place] is not None and (
            path.roles[place] is OpRole.ACTIVATION or _joins_outputs(path, place)
        )
        # a sum may hold parameters too (a weight penalty): that makes it no part of the network
        if path.roles[place] in _STOPS and not own:
            found.add(place)
            continue
        for producer in following.get(place, ()):
            if producer not in seen:
                seen.add(producer)
                stack.append(producer)
    return found


def _joins_outputs(path: Walk, place: int) -> bool:
    """Whether the op is the inner product of two computed vectors (a sum of squares): no layer."""
    return base_name(path.nodes[place].name()) == "Dot" and not path.leaves[place]


def _peel(
    path: Walk,
    place: int,
    following: Mapping[int, list[int]],
    consumers: Mapping[int, list[int]],
) -> int:
    """Step below an output op that belongs to its loss: a log-softmax, a sigmoid under BCE."""
    for _ in range(3):
        name = base_name(path.nodes[place].name())
        above = {base_name(path.nodes[c].name()) for c in consumers.get(place, ())}
        matched = any(name in MATCHED_OUTPUTS.get(loss, ()) for loss in above)
        moved = name in {"Squeeze", "View", "ReshapeAlias", "Unsqueeze", "Select"}
        probability = name == "LogSoftmax" or (
            name in _PROBABILITIES and _reaches_log(path, place, consumers)
        )
        next_ops = following.get(place, [])
        if (matched or probability) and len(next_ops) == 1:
            return next_ops[0]
        if moved and len(next_ops) == 1:
            below = base_name(path.nodes[next_ops[0]].name())
            if below in {"Sigmoid", "LogSoftmax"} and any(
                below in MATCHED_OUTPUTS.get(loss, ()) for loss in above
            ):
                deeper = following.get(next_ops[0], [])
                return deeper[0] if len(deeper) == 1 else place
        return place
    return place


def _reaches_log(path: Walk, place: int, consumers: Mapping[int, list[int]]) -> bool:
    """Whether what the op makes ends in a logarithm, at most a few harmless ops later."""
    above = [place]
    for _ in range(4):
        above = [c for p in above for c in consumers.get(p, ())]
        names = {c: base_name(path.nodes[c].name()) for c in above}
        if "Log" in names.values():
            return True
        above = [c for c in above if names[c] in _TO_A_LOG]
    return False

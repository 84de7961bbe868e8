"""Run the call of a compiled module again, eagerly, beside the program's own run.

The eager pass gives the tape that the compiled one hides. It runs on stand-ins and copies, so that
nothing of the program's is changed; the gradient that enters it is the real one, taken where it
enters the compiled region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge, saved_tensors_hooks
from torch.utils import _pytree
from torch.utils.hooks import RemovableHandle

from .compile_seam import CompiledCall
from .norms import norm
from .randomness import take
from .spies import saved_tensors_are_packed, tensors_in
from .stand_ins import CannotStandInError, StandIns
from .walk import Walk, walk

Edge = tuple[Node, int]

# Half of the digits of bfloat16, the coarsest format that networks are trained in: another order of
# the same operations stays below, another computation is off by the size of the output itself.
_SAME = 2.0**-4
# Where masks are drawn anew, the output is another one of the same size (chosen).
_SAME_SIZE = 2.0
_PLAIN = (Tensor, torch.nn.Parameter)


@final
@dataclass(eq=False)
class Replica:
    """The eager pass of one call.

    Attributes:
        first: with `end`, the interval of autograd's numbers that the compiled call owns.
        detours: by an edge that leads into the compiled region, the one into the eager graph
            instead; and from where the eager graph ends back to what made the inputs.
        stands_for: the parameter that each stand-in stands for, by the stand-in's identity.
        same: whether the outputs are those of the compiled call, on their device.
    """

    first: int
    end: int
    detours: Mapping[Edge, Edge]
    stands_for: Mapping[int, Tensor]
    same: Tensor | bool
    _entries: Sequence[tuple[Node, int, Tensor]]  # the real op, its output, the eager output
    _stand_ins: StandIns
    _held: Sequence[Tensor]  # identities that are compared must stay alive
    _given: dict[int, Tensor] = field(default_factory=dict)  # gradient by place in `_entries`
    _handles: list[RemovableHandle] = field(default_factory=list)

    def owns(self, number: int) -> bool:
        """Whether the op with autograd's `number` was made by the compiled call."""
        return self.first <= number < self.end

    def listen(self) -> None:
        """Take the gradient that enters the compiled region, in the backward pass to come."""
        self._given.clear()
        for node in dict.fromkeys(node for node, _, _ in self._entries):
            self._handles.append(node.register_prehook(partial(self._take, node)))

    def _take(self, node: Node, gradients: tuple[Tensor | None, ...]) -> None:
        for place, (entry, slot, _) in enumerate(self._entries):
            if entry is node and slot < len(gradients) and gradients[slot] is not None:
                self._given[place] = gradients[slot].detach()  # type: ignore[union-attr]  # just seen

    def run_back(self, *, retain: bool) -> None:
        """Run the eager backward pass with the gradients that were taken."""
        self.hush()
        given = {id(self._entries[p][2]): (self._entries[p][2], g) for p, g in self._given.items()}
        self._given.clear()
        if not given:
            return
        with _apart(self._stand_ins, self._held):
            torch.autograd.backward(
                [output for output, _ in given.values()],
                [gradient for _, gradient in given.values()],
                retain_graph=retain,
            )
        for tensor in self._held:
            tensor.grad = None

    def hush(self) -> None:
        """Take the hooks from the compiled region."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def replicate(
    call: CompiledCall,
    stand_ins: StandIns,
    *,
    output: object,
    first: int,
    end: int,
    replay: Callable[[], None],
    drew: Callable[[], bool],
) -> Replica:
    """Run `call` again, eagerly.

    Args:
        call: as the program made it.
        stand_ins: of its module, from before.
        output: what the program's own call returned.
        first: the first of autograd's numbers that it owns.
        end: the one behind the last.
        replay: puts the random state of before the call in place.
        drew: whether random numbers were drawn since.

    Raises:
        CannotStandInError: the eager pass does not fit the call; the message says why.
    """
    copies = _Copies(stand_ins)
    args, kwargs = _pytree.tree_map(copies.of, (call.args, dict(call.kwargs)))
    with _apart(stand_ins, copies.tensors):
        replay()
        own = call.eager(*args, **kwargs)
        drawn = drew()
    pairs = _paired(output, own)
    detours: dict[Edge, Edge] = dict(copies.detours)
    entries = []
    for real, eager in pairs:
        if not real.requires_grad:
            continue
        edge = _edge(real)
        if first <= edge[0]._sequence_nr() < end:  # noqa: SLF001 (else an input handed on)
            detours[edge] = _edge(eager)
            entries.append((*edge, eager))
    return Replica(
        first,
        end,
        detours,
        stand_ins.parameters,
        _same(pairs, drawn=drawn),
        entries,
        stand_ins,
        [*copies.tensors, *stand_ins.leaves],
    )


@contextmanager
def _apart(stand_ins: StandIns, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Run code of the program's module so that it leaves nothing behind."""
    now = take([*tensors, *stand_ins.leaves])
    caches = torch.is_autocast_cache_enabled()
    with ExitStack() as stack:
        stack.callback(now.put_back)
        stack.callback(torch.set_autocast_cache_enabled, caches)
        torch.set_autocast_cache_enabled(False)
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(stand_ins.in_place())
        if saved_tensors_are_packed():  # by a checkpoint, which counts what is packed
            stack.enter_context(saved_tensors_hooks(_as_it_is, _as_it_is))
        yield


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


class _Copies:
    """The inputs of a call once more, cut off from what made them."""

    def __init__(self, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins
        self._known: dict[int, Tensor] = {}
        self.tensors: list[Tensor] = []
        self.detours: dict[Edge, Edge] = {}

    def of(self, value: object) -> object:
        """Return the copy of a tensor, anything else as it is."""
        if not isinstance(value, Tensor):
            return value
        own = self._stand_ins.copied(value)
        if own is not None:
            return own
        if id(value) not in self._known:
            self._known[id(value)] = self._copy(value)
        return self._known[id(value)]

    def _copy(self, value: Tensor) -> Tensor:
        if type(value) not in _PLAIN or value.is_inference():
            raise CannotStandInError(f"it is given a {type(value).__name__}")
        leaf = value.detach()
        if not value.requires_grad:
            return leaf.clone()
        # the clone may be changed in place, and stands between the leaf and every other op
        leaf.requires_grad_()
        copy = leaf.clone()
        self.tensors += [leaf, copy]
        self.detours[_edge(copy)] = _edge(value)
        return copy


def _edge(tensor: Tensor) -> Edge:
    edge = get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _paired(output: object, own: object) -> list[tuple[Tensor, Tensor]]:
    """Return each tensor that came out with its like of the eager pass."""
    pairs = list(zip(tensors_in(output), tensors_in(own), strict=False))
    alike = len(list(tensors_in(output))) == len(list(tensors_in(own))) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.requires_grad == b.requires_grad
        for a, b in pairs
    )
    if not alike:
        raise CannotStandInError("its eager pass returns something else")
    return pairs


@torch.no_grad()
def _same(pairs: Iterable[tuple[Tensor, Tensor]], *, drawn: bool) -> Tensor | bool:
    """Return whether the outputs are the same, up to rounding; up to their masks where drawn."""
    same: Tensor | bool = True
    for real, eager in pairs:
        if not real.is_floating_point():
            continue
        one, other = real.double(), eager.double()
        finite = torch.isfinite(one)
        alike = (finite == torch.isfinite(other)).all()
        size, size_of_other = norm(one.where(finite, 0.0)), norm(other.where(finite, 0.0))
        apart = norm((one - other).where(finite, 0.0))
        close = torch.as_tensor(apart <= _SAME * size)
        if drawn:
            larger = torch.as_tensor(size <= _SAME_SIZE * size_of_other)
            close |= larger & torch.as_tensor(size_of_other <= _SAME_SIZE * size)
        same = same & alike & close
    return same


def settled(replicas: Sequence[Replica]) -> list[Replica]:
    """Return those whose outputs are those of the compiled call; waits for the device once."""
    verdicts = [torch.as_tensor(replica.same) for replica in replicas]
    here = {v.device for v in verdicts}
    told: dict[int, bool] = {}
    for device in here:
        places = [p for p, v in enumerate(verdicts) if v.device == device]
        values = torch.stack([verdicts[p].reshape(()) for p in places]).tolist()
        told.update(zip(places, values, strict=True))
    return [replica for place, replica in enumerate(replicas) if told[place]]


def walk_through(
    roots: Sequence[Tensor], stands_for: Mapping[int, Tensor], replicas: Sequence[Replica]
) -> tuple[Walk, list[Replica]]:
    """Walk from `roots` through the eager graphs; return those replicas that it goes through.

    A compiled region that the walk still enters, because something but its outputs leads there, is
    taken as it is. So is one whose eager graph leads on to ops of the program's own.
    """
    left = list(replicas)
    while True:
        detours = {edge: to for replica in left for edge, to in replica.detours.items()}
        stands = dict(stands_for)
        for replica in left:
            stands.update(replica.stands_for)
        path = walk(roots, stands, detours)
        numbers = [node._sequence_nr() for node in path.nodes]  # noqa: SLF001
        known = set(path.nodes)
        entered = [r for r in left if any(r.owns(number) for number in numbers)]
        if not entered:
            used = [r for r in left if any(to[0] in known for _, to in r.detours.items())]
            return path, used
        left = [replica for replica in left if replica not in entered]

"""FlowGraph: the ops of one step as the backward pass crosses them, and their main line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache

from ._types import SourceLine


class OpRole(StrEnum):
    """What an op does to the gradient, as the account reads it."""

    LINEAR = "linear"  # a weight of dim > 1 multiplies the signal: linear, conv, matmul
    ACTIVATION = "activation"  # elementwise, nonlinear
    NORMALIZATION = "normalization"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"  # a fused kernel: time is inside
    ATTENTION = "attention"  # a fused kernel: the softmax is inside
    SOFTMAX = "softmax"
    SCALE = "scale"  # elementwise multiplication or division
    MERGE = "merge"  # addition, concatenation
    STRUCTURAL = "structural"  # moves, pools, averages or drops values; has a known gain
    LOSS = "loss"
    PARAMETER = "parameter"  # a leaf that accumulates its gradient
    OPAQUE = "opaque"  # cannot be opened: custom function, compiled region, checkpoint


@dataclass(frozen=True, slots=True)
class Op:
    """One node of the backward graph.

    Attributes:
        index: position in `FlowGraph.ops`.
        node: the autograd node's name, such as ``"AddmmBackward0"``.
        path: unique readable path: the owning module's dotted path (``"net.3"``), followed by
            ``"/relu"`` where the module holds more than this one op, and ``"#2"`` for a repeat.
        module: dotted path of the innermost module whose forward made the op; ``""`` is the root.
        module_type: class name of that module, ``""`` where there is none.
        parameters: dotted names of the parameters that enter the op directly.
        source: the user's line that ran the op.
        built_at: the user's line that built the module which owns the op, where it was found.
        shape: of the op's output as its gradient showed it, ``()`` before it was seen.
        sequence: autograd's sequence number; grows in the order of the forward pass.
    """

    index: int
    node: str
    path: str
    role: OpRole
    module: str = ""
    module_type: str = ""
    parameters: tuple[str, ...] = ()
    source: SourceLine | None = None
    built_at: SourceLine | None = None
    shape: tuple[int, ...] = ()
    sequence: int = 0

    @property
    def name(self) -> str:
        """The op's name as a user would write it, such as ``"native_layer_norm"``."""
        return snake_name(self.node)


def cells_of(op: Op) -> str | None:
    """Return the path that the cells of a recurrent op are recorded under: their own weight's."""
    return next((p for p in op.parameters if "weight_hh" in p), None)


_SUFFIX = re.compile(r"Backward\d*$")
_DIMENSIONS = re.compile(r"(?<=[a-z])(\d)D(?=[A-Z]|$)")


@lru_cache(maxsize=1024)  # a graph has thousands of ops, and a few dozen names
def base_name(node: str) -> str:
    """Return an autograd node's name without its suffix.

    Example:
        >>> base_name("AddmmBackward0"), base_name("torch::autograd::AccumulateGrad")
        ('Addmm', 'AccumulateGrad')
    """
    return _SUFFIX.sub("", node.rpartition("::")[2])


def snake_name(node: str) -> str:
    """Return an autograd node's name as a user would write the op.

    Example:
        >>> snake_name("NativeLayerNormBackward0"), snake_name("AvgPool2DBackward0")
        ('native_layer_norm', 'avg_pool2d')
    """
    name = _DIMENSIONS.sub(r"\1d", base_name(node))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True, slots=True)
class Edge:
    """The gradient's way from an op (`consumer`) to the op that made its input (`producer`).

    `slot` is the position among the consumer's inputs.
    """

    consumer: int
    slot: int
    producer: int


# What stands for a dominator that is no op: the joint output, or none at all.
_JOINT, _UNREACHED = -1, -2


@dataclass(frozen=True)
class FlowGraph:
    """The backward graph of one sampled step, without tensors.

    Attributes:
        ops: in the order in which the backward pass may run them (consumers first).
        edges: between ops; an op's edges to parameters are left out (see `Op.parameters`).
        outputs: indices of the ops whose outputs are the model's output; the loss is above them.
        layers: indices of the ops that hold a trainable weight of dim > 1, output first; a weight
            that is used several times is represented by its last use.
    """

    ops: tuple[Op, ...] = ()
    edges: tuple[Edge, ...] = ()
    outputs: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()
    # every use of the weight of `layers[i]`, the representative among them
    uses: tuple[tuple[int, ...], ...] = field(default=())

    def op(self, path: str) -> Op:
        """Return the op at `path`.

        Raises:
            KeyError: no op has this path.
        """
        return self.ops[self._by_path[path]]

    @cached_property
    def _by_path(self) -> dict[str, int]:
        return {op.path: op.index for op in self.ops}

    @cached_property
    def consumers(self) -> tuple[tuple[Edge, ...], ...]:
        """For every op, the edges over which its output's gradient arrives."""
        into: list[list[Edge]] = [[] for _ in self.ops]
        for edge in self.edges:
            into[edge.producer].append(edge)
        return tuple(tuple(edges) for edges in into)

    @cached_property
    def producers(self) -> tuple[tuple[Edge, ...], ...]:
        """For every op, the edges over which it hands the gradient on."""
        out: list[list[Edge]] = [[] for _ in self.ops]
        for edge in self.edges:
            out[edge.consumer].append(edge)
        return tuple(tuple(edges) for edges in out)

    @cached_property
    def dominators(self) -> tuple[int, ...]:
        """Immediate dominator of every op, seen from the outputs.

        -1 stands for the joint output itself, -2 for ops that the outputs do not reach (the loss).
        The tensors that every path from the output crosses are the ops on the dominator chain;
        the algorithm is that of Cooper, Harvey and Kennedy (2001), one pass over a DAG.
        """
        unreached, joint = _UNREACHED, _JOINT
        idom = [unreached] * len(self.ops)
        depth = [0] * len(self.ops)
        outputs = set(self.outputs)
        for op in self.ops:
            candidates = [
                edge.consumer
                for edge in self.consumers[op.index]
                if idom[edge.consumer] != unreached
            ]
            if op.index in outputs:
                idom[op.index], depth[op.index] = joint, 1
                continue
            if not candidates:
                continue
            dominator = candidates[0]
            for other in candidates[1:]:
                dominator = self._meet(dominator, other, idom, depth)
            idom[op.index] = dominator
            depth[op.index] = 1 if dominator == joint else depth[dominator] + 1
        return tuple(idom)

    @staticmethod
    def _meet(one: int, other: int, idom: Sequence[int], depth: Sequence[int]) -> int:
        while one != other:
            if _JOINT in (one, other):
                return _JOINT
            if depth[one] >= depth[other]:
                one = idom[one]
            else:
                other = idom[other]
        return one

    def line_to(self, index: int) -> tuple[int, ...]:
        """Return the dominators of op `index`, output first, the op itself last."""
        chain: list[int] = []
        while index >= 0:
            chain.append(index)
            index = self.dominators[index]
        return tuple(reversed(chain))

    @cached_property
    def main_line(self) -> tuple[int, ...]:
        """The ops that every path from the output to the deepest layer crosses, output first.

        The deepest layer is the reached one with the lowest sequence number. On a plain network
        the main line is the network; on a pre-LN transformer it is the residual stream.
        """
        reached = [index for index in self.layers if self.dominators[index] != _UNREACHED]
        if not reached:
            return ()
        return self.line_to(min(reached, key=lambda index: self.ops[index].sequence))

    @cached_property
    def deepest(self) -> tuple[int, ...]:
        """For every op the deepest layer that it leads to, itself among them; -1 for none.

        Layers of two towers, which share no input, lead to two.
        """
        layers = frozenset(self.layers)
        out = [-1] * len(self.ops)
        for op in reversed(self.ops):
            below = [out[edge.producer] for edge in self.producers[op.index]]
            known = [index for index in below if index >= 0]
            if op.index in layers:
                known.append(op.index)
            out[op.index] = min(known, key=lambda index: self.ops[index].sequence, default=-1)
        return tuple(out)

    def leading_to(self, index: int) -> frozenset[int]:
        """Return the ops that lead to op `index`, itself among them."""
        found, stack = {index}, [index]
        while stack:
            for edge in self.consumers[stack.pop()]:
                if edge.consumer not in found:
                    found.add(edge.consumer)
                    stack.append(edge.consumer)
        return frozenset(found)

    @cached_property
    def double_softmax(self) -> Op | None:
        """The softmax that a loss takes the log-softmax of: one softmax too many, or None."""
        for op in self.ops:
            above = [self.ops[edge.consumer].name for edge in self.consumers[op.index]]
            if op.name == "softmax" and "log_softmax" in above:
                return op
        return None

    def moved(self, old: str, new: str) -> FlowGraph:
        """Return the graph with the source files of the folder `old` named in the folder `new`."""

        def at(line: SourceLine | None) -> SourceLine | None:
            if line is None or not line.file.startswith(old + os.sep):
                return line
            return replace(line, file=new + line.file[len(old) :])

        ops = (replace(op, source=at(op.source), built_at=at(op.built_at)) for op in self.ops)
        return replace(self, ops=tuple(ops))

    def to_json(self) -> dict[str, object]:
        """Return the graph as plain JSON values."""
        return {
            "ops": [asdict(op) for op in self.ops],
            "edges": [[edge.consumer, edge.slot, edge.producer] for edge in self.edges],
            "outputs": list(self.outputs),
            "layers": list(self.layers),
            "uses": [list(group) for group in self.uses],
        }

    @classmethod
    def from_json(cls, document: dict[str, object]) -> FlowGraph:
        """Read the graph back from what `to_json` returned."""
        raw: dict[str, list] = document  # type: ignore[assignment, type-arg]  # JSON is untyped
        ops = [
            Op(
                **{
                    **op,
                    "role": OpRole(op["role"]),
                    "parameters": tuple(op["parameters"]),
                    "shape": tuple(op["shape"]),
                    "source": SourceLine(**op["source"]) if op["source"] else None,
                    "built_at": SourceLine(**op["built_at"]) if op["built_at"] else None,
                }
            )
            for op in raw["ops"]
        ]
        return cls(
            ops=tuple(ops),
            edges=tuple(Edge(*edge) for edge in raw["edges"]),
            outputs=tuple(raw["outputs"]),
            layers=tuple(raw["layers"]),
            uses=tuple(tuple(group) for group in raw["uses"]),
        )

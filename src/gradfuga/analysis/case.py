"""The case: everything that rules may ask about one training, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .account import Account
from .lag_profile import LagProfile
from .progress import Progress

if TYPE_CHECKING:
    import numpy as np

    from .._types import SourceLine
    from ..flow import FlowGraph, Op
    from ..readings import Readings, RunRecord

    Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A trainable op with a weight of dim > 1.

    Attributes:
        op: index in the graph of the layer's representative use.
        path: the op's path.
        weight: dotted name of its weight.
        gated: whether a path without layers, or a projection, runs beside it (a residual branch),
            so that a small gradient here starves nothing below it.
    """

    op: int
    path: str
    weight: str
    gated: bool


@dataclass(frozen=True)
class Case:
    """One training as the rules see it.

    Shapes: `S` sampled steps, `L` layers (output first), `M` ops of the line (output first).

    Attributes:
        steps: the sampled steps, [S].
        layers: the trainable layers, [L].
        reach: decades of every layer's gradient against the model's output, known gains of
            structural ops taken off, the best-fed use of each weight, [S, L]; NaN where unread,
            -inf where the gradient is exactly zero.
        line: the ops that every path from the output to the deepest layer crosses, output first,
            [M]: the graph's main line, or that of another input's tower which is sicker.
        line_reach: the same for every op of the line, [S, M].
        update_ratio: |dw| / max(|w|, |w at the start|) of one real step, [S, L]; NaN for weights
            that start at zero.
        turnovers: how often each layer has turned over its weights since step 0: the sum of
            `update_ratio` over the steps so far, [S, L].
        dead_layers: paths of the layers all of whose units are dead, by sampled step, [S].
        progress: what the loss did.
        start: the account at the first sampled step.
        late: the account over the last samples.
        blamed: the account that speaks for the symptom: `start`, or the one over the waiting
            time where the symptom came later.
        lag: steps back that the task needs, where the user says so.
        first_lags: the gradient against the lag in every recurrence, before any update.
        late_lags: the same over the last probes.
    """

    readings: Readings
    graph: FlowGraph
    record: RunRecord
    steps: tuple[int, ...]
    layers: tuple[Layer, ...]
    reach: Floats
    line: tuple[int, ...]
    line_reach: Floats
    update_ratio: Floats
    turnovers: Floats
    dead_layers: tuple[tuple[str, ...], ...]
    progress: Progress
    start: Account
    late: Account
    blamed: Account
    lag: int | None = None
    first_lags: tuple[LagProfile, ...] = ()
    late_lags: tuple[LagProfile, ...] = ()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run, N."""
        return self.record.steps

    def op_of(self, layer: Layer) -> Op:
        """Return the layer's representative op."""
        return self.graph.ops[layer.op]

    def source_of(self, paths: tuple[str, ...], *, most: int = 3) -> tuple[SourceLine, ...]:
        """Return the distinct user source lines of the ops at `paths`, at most `most`."""
        found: dict[SourceLine, None] = {}
        by_path = {op.path: op for op in self.graph.ops}
        for path in paths:
            op = by_path.get(path)
            if op is not None and op.source is not None:
                found[op.source] = None
        return tuple(found)[:most]

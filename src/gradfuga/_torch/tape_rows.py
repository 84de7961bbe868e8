"""Turn one sampled backward pass into rows of the readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import final

import torch
from torch import Tensor

from .._types import Kind
from ..flow import FlowGraph, OpRole
from .backward_break import broken_backward
from .examples import ExampleBook
from .first_nan import Breakage
from .loss_rows import LossRows
from .naming import Names, build_graph
from .norms import dense
from .parts import Parts
from .recorder import Recorder
from .scaling import Scaled, unscaled
from .sequences import SequenceBook
from .tape import TapeRecord
from .time_rows import write_curves

_WEIGHT_STATISTICS = frozenset({"scale"})
_MOST_GRAPHS = 8  # a model whose graph changes at every step is renamed each time, not stored
_TERMS, _INPUTS = "the reading of the loss", "the reading of inputs"
_EXAMPLES, _LAGS = "the gathering of examples", "the reading of time"
_BREAKS = "the search for the first NaN"
_CHECKED_INPUTS = 64  # steps whose inputs are checked for NaN; a broken pipeline shows at once

# A compiled region that is fed with data alone is taken for the loss's own side of its weights.
_CLOSED = (OpRole.OPAQUE, OpRole.LOSS)


@final
class TapeRows:
    """Records what tapes showed; remembers the graphs and the targets from sample to sample.

    Attributes:
        graph: the largest one seen.
        losses: the terms of the loss, and their targets pooled.
        book: examples of the task, for the reference learner.
        sequences: the same with their time axis, for recurrent networks.
        opened: names of the parameters that enter an op which is no opaque one.
        knows_sources: whether a graph with the user's source lines was seen.
    """

    def __init__(self, recorder: Recorder, parts: Parts) -> None:
        self._parts = parts
        self._recorder = recorder
        self._graphs: dict[int, FlowGraph] = {}
        self.graph = FlowGraph()
        self.losses = LossRows(recorder)
        self.book = ExampleBook()
        self.sequences = SequenceBook()
        self.knows_sources = False
        self.opened: set[str] = set()

    def write(self, step: int, record: TapeRecord, names: Names, scaled: Scaled | None) -> None:
        """Record the gradient at every op, the statistics, and the terms of the loss.

        Args:
            step: its number.
            record: what the tape showed.
            names: of the training's parameters and modules.
            scaled: what a gradient scaler multiplied the loss by.
        """
        graph = self._graph_of(record, names)
        self.knows_sources |= record.read_sources
        add, ops = self._recorder.add, graph.ops
        for place, value in record.gradient.items():
            add(step, ops[place].path, Kind.ACTIVATION_GRAD, "norm", unscaled(value, scaled))
        for (place, slot), value in record.edges.items():
            path = ops[place].path
            add(step, path, Kind.ACTIVATION_GRAD, f"input_norm.{slot}", unscaled(value, scaled))
        for place, measured in record.statistics.items():
            for statistic, number in measured.items():
                kind = Kind.WEIGHT if statistic in _WEIGHT_STATISTICS else Kind.ACTIVATION
                add(step, ops[place].path, kind, statistic, number)
        for place, p in record.dropped.items():
            add(step, ops[place].path, Kind.ACTIVATION, "dropped_share", p)
        self._apart(_BREAKS, lambda: self._write_backward_break(step, record, graph))
        self._apart(_TERMS, lambda: self._write_terms(step, record, graph, scaled))
        self._apart(_LAGS, lambda: self._write_curves(step, record, names))
        self._apart(_INPUTS, lambda: self._write_inputs(step, record))

    def write_breaks(self, step: int, found: Iterable[Breakage | None], names: Names) -> None:
        """Record where the first NaN or infinity of a step came from, and what went in there."""
        for each in found:
            if each is not None:
                self._apart(_BREAKS, partial(self._write_break, step, each, names))

    def _write_backward_break(self, step: int, record: TapeRecord, graph: FlowGraph) -> None:
        place = broken_backward(record)
        if place is not None:
            self._recorder.add(step, graph.ops[place].path, Kind.ACTIVATION, "broken_backward", 1.0)

    def _write_break(self, step: int, broken: Breakage, names: Names) -> None:
        graph = self._graphs.get(broken.walk.signature)
        if graph is None:  # this step runs other ops than those sampled: no source lines
            graph = build_graph(broken.walk, names, (), (), {}, read_sources=False)
        path = graph.ops[broken.place].path
        self._recorder.add(step, path, Kind.ACTIVATION, f"broken_{broken.origin.value}", 1.0)
        for name in ("low", "high", "largest"):
            value = float(getattr(broken, name))
            self._recorder.add(step, path, Kind.ACTIVATION, f"broken_{name}", value)
        for place in broken.suspects:
            self._recorder.add(step, graph.ops[place].path, Kind.ACTIVATION, "broken_suspect", 1.0)

    def _write_curves(self, step: int, record: TapeRecord, names: Names) -> None:
        write_curves(self._recorder, step, record.curves, names, record.read)
        self.sequences.add(step, record)

    def _apart(self, part: str, write: Callable[[], None]) -> None:
        """Write one part; that it fails costs this part alone."""
        if not self._parts.work(part):
            return
        try:
            write()
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self._parts.fail(part, error)

    def _write_inputs(self, step: int, record: TapeRecord) -> None:
        given = [x for x in record.inputs if x.is_floating_point()]
        if given and step < _CHECKED_INPUTS:
            broken = sum(torch.count_nonzero(~torch.isfinite(dense(x))) for x in given)
            self._recorder.add(step, "input", Kind.ACTIVATION, "nonfinite", broken)
        rows = [x for x in record.inputs if x.layout is torch.strided]
        rows = [x for x in rows if x.dim() > 0]
        if step < _CHECKED_INPUTS and any(len(x) > 1 for x in rows):
            varying = sum(_varying(x) for x in rows)
            self._recorder.add(step, "input", Kind.ACTIVATION, "varying", varying)
            empty = float(all(x.numel() == 0 for x in rows))
            self._recorder.add(step, "input", Kind.ACTIVATION, "empty", empty)

    def _graph_of(self, record: TapeRecord, names: Names) -> FlowGraph:
        signature = record.walk.signature
        graph = self._graphs.get(signature)
        if graph is None or record.read_sources:
            graph = build_graph(
                record.walk,
                names,
                record.spans,
                record.outputs,
                record.shapes,
                read_sources=record.read_sources,
            )
            self.opened.update(
                name for op in graph.ops if op.role not in _CLOSED for name in op.parameters
            )
            if signature in self._graphs or len(self._graphs) < _MOST_GRAPHS:
                self._graphs[signature] = graph
            more = len(graph.ops) - len(self.graph.ops)
            if more > 0 or (more == 0 and record.read_sources) or not self.graph.layers:
                self.graph = graph
        return graph

    def _write_terms(
        self, step: int, record: TapeRecord, graph: FlowGraph, scaled: Scaled | None
    ) -> None:
        term = self.losses.write(step, record, graph, scaled)
        if term is not None:
            self._apart(_EXAMPLES, lambda: self.book.add(record.inputs, term))


def _varying(x: Tensor) -> Tensor:
    """Count the values that differ from the first example's; `[T, B, ...]` may be meant as well."""
    count = torch.count_nonzero(x != x[:1])
    if x.dim() > 2:  # noqa: PLR2004 (a sequence, an image)
        count = count + torch.count_nonzero(x != x[:, :1])
    return count

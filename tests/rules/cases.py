"""Made-up trainings for the rules: a chain of layers whose every reading is chosen by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradfuga._contracts import AbstractRule
from gradfuga._types import Kind, SourceLine
from gradfuga.analysis.build import build_case
from gradfuga.analysis.case import Case
from gradfuga.flow import Edge, FlowGraph, Op, OpRole
from gradfuga.readings import ParameterRecord, Reading, Readings, RunRecord

Value = float | Mapping[int, float]
Key = tuple[str, Kind, str]

BASELINE = 2.0
SAMPLED = (0, 1, 2, 4, 8, 16, 32, 64, 80, 90, 99)
LEARNING = tuple(float(each) for each in np.geomspace(BASELINE, 0.05, 100))
# at the baseline, with an even and an odd step that differ, so that there is noise but no trend
STANDING = tuple(BASELINE + 0.002 * (-1) ** step for step in range(100))


@dataclass(frozen=True)
class Training:
    """A chain ``head <- act.N <- layer.N ... layer.0`` that is healthy until it is changed.

    Attributes:
        depth: layers below the head.
        activation: class name of the module between layers.
        linear_gain: of the gradient across each layer, which is its weight scale too.
        activation_gain: of the gradient across each activation, its rms slope.
        changed: readings instead of, or beside, the usual ones; one value, or one by step.
    """

    depth: int = 4
    activation: str = "Tanh"
    loss_node: str = "NllLossBackward0"
    linear_gain: float = 1.0
    activation_gain: float = 1.0
    losses: tuple[float, ...] = LEARNING
    baseline: float | None = BASELINE
    reference: float | None = None
    sampled: tuple[int, ...] = SAMPLED
    settings: Mapping[str, float] = field(default_factory=lambda: {"lr": 0.1})
    optimizer: str = "SGD"
    parameters: tuple[ParameterRecord, ...] | None = None
    changed: Mapping[Key, Value] = field(default_factory=dict)
    graph_of: FlowGraph | None = None

    # -- changes ---------------------------------------------------------------------------

    def gains(self, *, linear: float = 1.0, activation: float = 1.0) -> Training:
        return replace(self, linear_gain=linear, activation_gain=activation)

    def that_learns_nothing(self) -> Training:
        return replace(self, losses=STANDING)

    def without_baseline(self) -> Training:
        return replace(self, baseline=None)

    def with_losses(self, losses: Sequence[float]) -> Training:
        return replace(self, losses=tuple(losses))

    def with_reference(self, u: float) -> Training:
        return replace(self, reference=u)

    def with_settings(self, **settings: float) -> Training:
        return replace(self, settings={**self.settings, **settings})

    def using(self, optimizer: str) -> Training:
        return replace(self, optimizer=optimizer)

    def sampled_at(self, *steps: int) -> Training:
        return replace(self, sampled=steps)

    def reading(self, path: str, kind: Kind, statistic: str, value: Value) -> Training:
        return replace(self, changed={**self.changed, (path, kind, statistic): value})

    def everywhere(self, kind: Kind, statistic: str, value: Value) -> Training:
        """Change a statistic of every weight, or else of every layer."""
        weights = kind in (Kind.UPDATE, Kind.WEIGHT_GRAD) or (kind, statistic) == (
            Kind.WEIGHT,
            "norm",
        )
        made = self
        for layer in self.layer_paths:
            made = made.reading(f"{layer}.weight" if weights else layer, kind, statistic, value)
        return made

    def holding(self, *records: ParameterRecord) -> Training:
        return replace(self, parameters=records)

    # -- what it is ------------------------------------------------------------------------

    @property
    def layer_paths(self) -> tuple[str, ...]:
        """The layers, output first."""
        return ("head", *(f"layer.{n}" for n in reversed(range(self.depth))))

    @property
    def graph(self) -> FlowGraph:
        if self.graph_of is not None:
            return self.graph_of
        ops = [Op(0, self.loss_node, "loss_op", OpRole.LOSS, sequence=1000)]
        for path in self.layer_paths:
            if path != "head":
                act = path.replace("layer", "act")
                node = f"{self.activation}Backward0"
                ops.append(
                    Op(
                        len(ops),
                        node,
                        act,
                        OpRole.ACTIVATION,
                        module=act,
                        module_type=self.activation,
                        sequence=1000 - len(ops),
                        source=SourceLine("net.py", 20, "h = self.act(h)"),
                    )
                )
            ops.append(
                Op(
                    len(ops),
                    "AddmmBackward0",
                    path,
                    OpRole.LINEAR,
                    module=path,
                    module_type="Linear",
                    parameters=(f"{path}.weight",),
                    sequence=1000 - len(ops),
                    source=SourceLine("net.py", 10, "h = self.layer(h)"),
                    built_at=SourceLine("net.py", 5, "nn.Linear(16, 16)"),
                    shape=(64, 16),
                )
            )
        layers = tuple(op.index for op in ops if op.role is OpRole.LINEAR)
        return FlowGraph(
            ops=tuple(ops),
            edges=tuple(Edge(n, 0, n + 1) for n in range(len(ops) - 1)),
            outputs=(1,),
            layers=layers,
            uses=tuple((index,) for index in layers),
        )

    def _usual(self) -> dict[Key, Value]:
        rows: dict[Key, Value] = {}
        size = 1.0
        for op in self.graph.ops[1:]:
            rows[op.path, Kind.ACTIVATION_GRAD, "norm"] = size
            if op.role is OpRole.LINEAR:
                rows[op.path, Kind.WEIGHT, "scale"] = self.linear_gain
                rows[op.path, Kind.ACTIVATION, "input_rms"] = 1.0
                rows[op.path, Kind.ACTIVATION, "batch_variation"] = 0.8
                for kind, value in ((Kind.WEIGHT, 1.0), (Kind.UPDATE, 0.05)):
                    rows[f"{op.path}.weight", kind, "norm"] = value
                rows[f"{op.path}.weight", Kind.WEIGHT_GRAD, "norm"] = 0.5
                size *= self.linear_gain
            else:
                rows[op.path, Kind.ACTIVATION, "mean_squared_slope"] = self.activation_gain**2
                rows[op.path, Kind.ACTIVATION, "slope_supremum"] = 1.0
                rows[op.path, Kind.ACTIVATION, "dead_share"] = 0.0
                size *= self.activation_gain
        rows["optimizer", Kind.WEIGHT_GRAD, "stale"] = 0.0
        rows["optimizer", Kind.WEIGHT_GRAD, "clip_coefficient"] = 1.0
        if self.baseline is not None:
            rows["loss", Kind.LOSS, "baseline"] = self.baseline
            rows["loss", Kind.LOSS, "floor"] = 0.0
        if self.reference is not None:
            rows["loss", Kind.LOSS, "reference"] = {self.sampled[-1]: self.reference}
        return rows

    @property
    def readings(self) -> Readings:
        rows = [
            Reading(step, "loss", Kind.LOSS, "value", loss) for step, loss in enumerate(self.losses)
        ]
        for (path, kind, statistic), value in {**self._usual(), **self.changed}.items():
            by_step = value if isinstance(value, Mapping) else dict.fromkeys(self.sampled, value)
            rows += [
                Reading(step, path, kind, statistic, number)
                for step, number in by_step.items()
                if not math.isnan(number)
            ]
        records = self.parameters
        if records is None:
            records = tuple(weight(f"{path}.weight") for path in self.layer_paths)
        return Readings(
            rows,
            graph=self.graph,
            record=RunRecord(
                optimizer=self.optimizer,
                settings=dict(self.settings),
                parameters=records,
                steps=len(self.losses),
                sampled=self.sampled,
            ),
        )

    @property
    def case(self) -> Case:
        return build_case(self.readings)


def weight(path: str, **changed: bool) -> ParameterRecord:
    """Return the record of a 16 x 16 weight that trains, is optimized and was reached."""
    usual = ParameterRecord(path, (), (16, 16), trainable=True, optimized=True, reached=True)
    return replace(usual, **changed)


def by_step(early: float, late: float, *, until: int = 32) -> dict[int, float]:
    """Return one value up to a step, another after it."""
    return {step: early if step <= until else late for step in SAMPLED}


def fires(rule: AbstractRule, training: Training, **settings: float) -> bool:
    """Whether `rule`, with some of its thresholds changed, finds anything."""
    return bool(list(replace(rule, **settings).check(training.case)))  # type: ignore[type-var]


def flips_at(rule: AbstractRule, training: Training, threshold: str, value: float) -> bool:
    """Whether `rule` changes its mind exactly where `threshold` passes `value`."""
    below, above = (
        fires(rule, training, **{threshold: math.nextafter(value, side)})
        for side in (-math.inf, math.inf)
    )
    return below != above

"""Layers all of whose units are dead: where they are, since when, and in which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._types import Axis, Evidence, Finding, Kind, Severity
from ._blame import MOST_PATHS, activation_word
from ._progress import learns_well
from ._samples import value_at
from ._words import quoted

if TYPE_CHECKING:
    from .._contracts import AbstractRule
    from ..analysis.case import Case, Layer
    from ..flow import Op

# Flat on both sides: a unit of these that has no slope is not off, it is saturated.
# (ReLU6 has the node of a Hardtanh: only the module tells them apart.)
_FLAT_ENDS = frozenset({"sigmoid", "tanh", "hardsigmoid", "softsign"})
_MOST_EVIDENCE = 3


@dataclass(frozen=True, slots=True)
class Dead:
    """Dead activations of one kind.

    Attributes:
        paths: where.
        born: whether they were dead at the first sample; else they died by the last.
        step: the sample that shows it.
    """

    paths: tuple[str, ...]
    born: bool
    step: int


def dead(case: Case, *, saturated: bool, at_output: bool | None = None) -> Dead | None:
    """Return the dead layers of a training that does not learn well, None where there are none.

    Args:
        case: the training.
        saturated: those that are flat on both sides, or else those that are off.
        at_output: those above the last layer, or below it; both where left out.
    """
    if not case.dead_layers or learns_well(case):
        return None
    born = bool(case.dead_layers[0])
    found = case.dead_layers[0] or case.dead_layers[-1]
    fed_by_zeros = frozenset(fed for _, fed in zero_fed(case))
    found = tuple(path for path in found if path not in fed_by_zeros)
    ends = {op.path for op in case.graph.ops if _flat_at_both_ends(op)}
    above = above_the_last_layer(case)
    paths = tuple(
        path
        for path in found
        if (path in ends) is saturated and (at_output is None or (path in above) is at_output)
    )
    return Dead(paths, born, case.steps[0 if born else -1]) if paths else None


def zero_fed(case: Case) -> tuple[tuple[Layer, str], ...]:
    """Return the layers whose weights start at zero, with the dead activations that they feed."""
    if not case.dead_layers or not case.dead_layers[0]:
        return ()
    layers, born = {layer.op: layer for layer in case.layers}, frozenset(case.dead_layers[0])
    out = []
    for op in case.graph.ops:
        index = op.index
        while op.path in born and index not in layers and len(case.graph.producers[index]) == 1:
            index = case.graph.producers[index][0].producer
        layer = layers.get(index)
        if op.path in born and layer is not None:
            size = value_at(case, layer.weight, Kind.WEIGHT, "norm", case.steps[0])
            if size == 0.0:
                out.append((layer, op.path))
    return tuple(out)


def _flat_at_both_ends(op: Op) -> bool:
    return op.name.lower() in _FLAT_ENDS or op.module_type == "Hardtanh"


def above_the_last_layer(case: Case) -> frozenset[str]:
    """Return the paths of the ops between the model's output and its last layer."""
    above = []
    for index in case.line:
        if index in case.graph.layers:
            break
        above.append(case.graph.ops[index].path)
    return frozenset(above)


def dead_finding(
    rule: AbstractRule, case: Case, found: Dead, text: str, *, limit: float
) -> Finding:
    """Return the finding that says `text` of the dead layers, with their share against `limit`.

    `text` may name the ``{layers}`` and the ``{activation}`` of the first.
    """
    return rule.finding(
        severity=Severity.SERIOUS,
        axis=Axis.DEPTH,
        message=text.format(
            layers=quoted(found.paths), activation=activation_word(case, found.paths[0])
        ),
        paths=found.paths[:MOST_PATHS],
        source=case.source_of(found.paths),
        evidence=tuple(
            Evidence(
                path,
                Kind.ACTIVATION,
                "dead_share",
                found.step,
                value_at(case, path, Kind.ACTIVATION, "dead_share", found.step),
                limit,
            )
            for path in found.paths[:_MOST_EVIDENCE]
        ),
    )

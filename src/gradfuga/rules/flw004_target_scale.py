"""Regression targets that are far out of the network's reach.

What it finds
    In a regression that learns nothing: targets whose distance from the network's first outputs
    is more than ten times larger than unit size and than those outputs. In one that stays worse
    than a constant: targets that spread less than a hundredth of that distance.

Why it matters
    A network at a sound initialisation answers with numbers of order one. Towards targets of a
    million the last bias alone has to travel a million: with Adam that takes a million over the
    learning rate in steps, and with SGD the squared error makes the gradient so large that the
    first step throws the weights away. Behind a sigmoid or a tanh, which end at 1, no answer comes
    near at all. Towards targets of 1e-5 every step of an adaptive
    optimizer is larger than what is left to learn.

Evidence
    ``target_distance``, the root mean square of target minus output at the first sampled step,
    worked out from the loss and its gradient (so that a scaled loss changes nothing), against
    the size of the outputs; or ``target_spread``, their standard deviation (from the loss of the
    best constant), against that distance.

Known limits
    Needs one squared, Huber or smooth L1 loss on one output; for the robust ones the distance
    is right within a factor of two. The size of the outputs is that of independent weights.

References
    LeCun et al. 1998, Efficient BackProp (normalising inputs and targets).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from .._contracts import AbstractRule
from .._messages import _
from .._types import Evidence, Finding, Kind, Role, Severity
from ..flow import OpRole, base_name
from ._progress import learns_nothing
from ._samples import value_at
from ._words import plain

if TYPE_CHECKING:
    from ..analysis.case import Case
    from ..flow import Op

_BOUNDED = frozenset({"Sigmoid", "Tanh", "Softmax", "Hardsigmoid", "Hardtanh"})
_MOST_SHAPES = 4  # ops between it and the output that only give another shape
_REGRESSIONS = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "Pow"})


@final
@dataclass(frozen=True, slots=True)
class TargetScale(AbstractRule):
    """Blames targets that are too far away."""

    code: ClassVar[str] = "FLW004"
    name: ClassVar[str] = "target-scale"
    role: ClassVar[Role] = Role.CAUSE
    needs: ClassVar[frozenset[str]] = frozenset({"baseline", "norm"})
    cause: ClassVar[str] = "target_scale"

    far: float = 10.0  # times the size of the outputs, or one (chosen: one order)
    tiny: float = 0.01  # of the distance (chosen: two orders)
    worse: float = -1.0  # progress of a network that stays worse than a constant (decision rule)

    def check(self, case: Case) -> Iterable[Finding]:
        """Return one finding on the targets."""
        found = _output_and_loss(case)
        if found is None or not learns_nothing(case):
            return ()
        output, term = found
        step = case.steps[0]
        gradient = value_at(case, output.path, Kind.ACTIVATION_GRAD, "norm", step)
        loss = value_at(case, term, Kind.LOSS, "value", step)
        if not gradient > 0.0:
            return ()
        # L = w mean(e^2) and |dL/do|^2 = 4 w^2 mean(e^2) / n, so that w cancels
        distance = 2.0 * loss / (math.sqrt(math.prod(output.shape)) * gradient)
        reach = max(1.0, _output_size(case, step))
        if distance > self.far * reach:
            evidence = Evidence(output.path, Kind.LOSS, "target_distance", step, distance, reach)
            bound = _bound_of(case, output)
            if bound is not None:
                message = _(
                    "The targets are {distance} away from what the network answers at the start, "
                    "and its answers pass through {activation} at '{layer}', which ends at 1: no "
                    "training brings them near. Leave {activation} out at the output and "
                    "standardize the targets."
                ).format(distance=plain(distance), activation=bound.name, layer=bound.path)
                return (self._finding(case, output, term, message, evidence, bound),)
            message = _(
                "The targets are {distance} away from what the network answers at the start, which "
                "is of the size of {reach}: standardize the targets."
            ).format(distance=plain(distance), reach=plain(reach))
            return (self._finding(case, output, term, message, evidence),)
        spread = distance * _share_of_spread(case, step)
        if spread < self.tiny * distance and case.progress.u < self.worse:
            message = _(
                "The targets spread by {spread}, and the network answers at the start {distance} "
                "away from them: steps that bring it near are too coarse to tell the targets "
                "apart. Standardize the targets."
            ).format(spread=plain(spread), distance=plain(distance))
            evidence = Evidence(output.path, Kind.LOSS, "target_spread", step, spread, distance)
            return (self._finding(case, output, term, message, evidence),)
        return ()

    def _finding(
        self,
        case: Case,
        output: Op,
        term: str,
        message: str,
        evidence: Evidence,
        bound: Op | None = None,
    ) -> Finding:
        return self.finding(
            severity=Severity.SERIOUS,
            message=message,
            paths=(output.path,) if bound is None else (output.path, bound.path),
            source=case.source_of((term,) if bound is None else (bound.path,)),
            evidence=(evidence,),
        )


def _share_of_spread(case: Case, step: int) -> float:
    """Return the standard deviation of the targets over their distance, NaN if unknown."""
    loss, baseline, floor = (
        value_at(case, "loss", Kind.LOSS, name, step) for name in ("value", "baseline", "floor")
    )
    learnable = baseline - floor
    return math.sqrt(learnable / (loss - floor)) if loss > floor and learnable > 0.0 else math.nan


def _output_and_loss(case: Case) -> tuple[Op, str] | None:
    """Return the lone output and the path of the lone regression term."""
    if not case.steps or len(case.graph.outputs) != 1:
        return None
    terms = [path for path in case.readings.paths(Kind.LOSS, "value") if path != "loss"]
    nodes = {op.path: base_name(op.node) for op in case.graph.ops}
    if len(terms) != 1 or nodes.get(terms[0]) not in _REGRESSIONS:
        return None
    output = case.graph.ops[case.graph.outputs[0]]
    return (output, terms[0]) if output.shape else None


def _bound_of(case: Case, output: Op) -> Op | None:
    """Return the op that keeps the answers between -1 and 1, None where there is none."""
    place = case.graph.ops.index(output)
    for _step in range(_MOST_SHAPES):
        op = case.graph.ops[place]
        if base_name(op.node) in _BOUNDED:
            return op
        below = case.graph.producers[place]
        if op.role is not OpRole.STRUCTURAL or op.parameters or len(below) != 1:
            return None
        place = below[0].producer
    return None


def _output_size(case: Case, step: int) -> float:
    """Return the size of the outputs that the last layer makes of its input, 0 if unknown."""
    if not case.layers:
        return 0.0
    head = case.layers[0].path
    size = value_at(case, head, Kind.ACTIVATION, "input_rms", step)
    size *= value_at(case, head, Kind.WEIGHT, "scale", step)
    return size if math.isfinite(size) else 0.0


RULE = TargetScale()

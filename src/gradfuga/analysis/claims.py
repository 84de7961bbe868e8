"""Work out the account: split every gain on the main line among the causes that explain it.

The gains between successive dominators multiply to the reach of the deepest layer, so their
logarithms add. Each is split by exact identities, and what no identity claims stays unexplained:

* linear, convolution: ``log10 g = log10(|W|_F / sqrt(n_out)) + alignment``;
* activation: ``log10 g = log10 rms(phi') + co-location``; the first is split at the slope that
  the activation has at unit variance, where a standard network works it;
* normalisation: netted with the next linear op towards the input, whose scale it undoes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .._types import Kind
from ..flow import FlowGraph, Op, OpRole, cells_of
from ..readings import Readings
from ..theory.activations import knows
from ..theory.moments import operating_slope, reference_gain
from .account import UNEXPLAINED, Account, Claim
from .stages import Stage, stages
from .step_values import StepValues
from .written_out import join_written_out

# A pair of layer and activation that loses less than this is as good as critical: 20 of them
# stay within 1.30 decades (6 depth scales). What such pairs lose together is depth's doing.
NEAR_CRITICAL = 1.30 / 20
# Activations whose critical point repels: the signal drifts away from it without normalisation
# (theory: GELU, SiLU and Mish have a slope of the length map above one there).
_DRIFTING = frozenset({"gelu", "gelu_tanh", "silu", "mish", "hardswish"})
_GATES_AT_ZERO = math.log10(0.25)  # of an LSTM: output gate 1/2, input gate 1/2, tanh' 1
_HALF_OFF = frozenset({"relu", "leaky_relu", "relu6", "prelu", "threshold", "clamp", "clamp_min"})


def account(readings: Readings, step: int, line_stages: Sequence[Stage] | None = None) -> Account:
    """Return the account of the reach at `step`; an empty one where the line was not read."""
    graph = readings.graph
    values = StepValues(readings, step)
    cut = stages(graph, graph.main_line) if line_stages is None else line_stages
    line = (cut[0].start, *(stage.end for stage in cut)) if cut else graph.main_line
    raw = _gathering(graph, line, values)
    seen_layer = bool(line) and graph.ops[line[0]].index in graph.layers
    below_layer = 0 if seen_layer else None  # the place in `raw` below the first layer
    for stage in cut:
        op, below = graph.ops[stage.start], graph.ops[stage.end]
        above_norm, below_norm = values.log_norm(op), values.log_norm(below)
        if above_norm is None or below_norm is None:
            return Account(step, 0.0, ())
        gain = below_norm - above_norm
        if stage.lone and op.role is OpRole.STRUCTURAL:
            continue  # a known gain: averaging, pooling, selecting
        if stage.lone:
            raw.extend(_split(op, gain, graph, values, output_stage=not seen_layer))
        elif gain < 0.0 and _multiplies_embedding(op, graph):
            # the gradient of a product is the other factor: small embeddings feed small gradients
            raw.append(Claim("embedding_scale", op.index, op.path, gain))
        elif stage.bypassed:
            raw.append(Claim("_residual", op.index, op.path, gain))
        else:
            raw.extend(_branched(stage, gain, graph, values))
        seen_layer = seen_layer or op.index in graph.layers or op.role is OpRole.LINEAR
        if seen_layer and below_layer is None:
            below_layer = len(raw)
    if below_layer is not None:
        lone = [stage.start for stage in cut if stage.lone]
        raw = join_written_out(raw, lone, graph, first_layer=below_layer)
    end = graph.ops[line[-1]] if line else None
    claims = _book_depth(_net_normalization(raw, end), graph)
    return Account(step, sum(claim.decades for claim in claims), tuple(claims))


def _gathering(graph: FlowGraph, line: Sequence[int], values: StepValues) -> list[Claim]:
    """Return the way from several outputs together to the first op that all of them cross."""
    if not line or tuple(graph.outputs) == (line[0],):
        return []
    first = values.log_norm(graph.ops[line[0]])
    known = [values.log_norm(graph.ops[index]) for index in graph.outputs]
    logs = [2.0 * each for each in known if each is not None]
    if first is None or not logs:
        return []
    largest = max(logs)
    joint = 0.5 * (largest + math.log10(sum(10.0 ** (each - largest) for each in logs)))
    return [Claim(UNEXPLAINED, line[0], graph.ops[line[0]].path, first - joint)]


def _multiplies_embedding(op: Op, graph: FlowGraph) -> bool:
    factors = [graph.ops[edge.producer].role for edge in graph.producers[op.index]]
    return op.name in ("mul", "bmm") and OpRole.EMBEDDING in factors


def activation_name(op: Op, supremum: float | None) -> str:
    """Return the name of an activation op as the theory knows it."""
    if op.module_type and knows(op.module_type):
        return op.module_type.lower()
    if op.name == "elu" and supremum is not None and supremum > 1.7:  # noqa: PLR2004 (selu: 1.758)
        return "selu"
    return op.name


def _split(
    op: Op, gain: float, graph: FlowGraph, values: StepValues, *, output_stage: bool
) -> Iterable[Claim]:
    """Split the gain of one lone op."""

    def claim(cause: str, decades: float) -> Claim:
        return Claim(cause, op.index, op.path, decades)

    if op.role is OpRole.LINEAR:
        scale = values.get(op, Kind.WEIGHT, "scale")
        if scale is None or scale <= 0.0:
            return [claim(UNEXPLAINED, gain)]
        reference = math.log10(_reference_before(op, graph, values))
        excess = math.log10(scale) - reference
        cause = "small_init" if excess < 0.0 else "large_init"
        return [claim(cause, excess), claim(UNEXPLAINED, gain - excess - reference),
                claim("_reference", reference)]  # fmt: skip
    if op.role is OpRole.RECURRENT:
        return _split_lstm(op, gain, values)
    if op.role is OpRole.ACTIVATION:
        return _split_activation(op, gain, values, output_stage=output_stage)
    if op.role is OpRole.NORMALIZATION:
        return [claim("_normalization", gain)]
    if op.role is OpRole.SOFTMAX and output_stage:
        return [claim("saturated_output", gain)]
    if op.role is OpRole.SOFTMAX:
        return [claim("attention_collapse", gain)]
    return [claim(UNEXPLAINED, gain)]


def _split_activation(
    op: Op, gain: float, values: StepValues, *, output_stage: bool
) -> Iterable[Claim]:
    def claim(cause: str, decades: float) -> Claim:
        return Claim(cause, op.index, op.path, decades)

    square = values.get(op, Kind.ACTIVATION, "mean_squared_slope")
    supremum = values.get(op, Kind.ACTIVATION, "slope_supremum")
    if square is None or square <= 0.0:
        return [claim(UNEXPLAINED, gain)]
    slope = 0.5 * math.log10(square)
    name = activation_name(op, supremum)
    usual = math.log10(operating_slope(name)) if knows(name) else math.log10(supremum or 1.0)
    reference = math.log10(reference_gain(name)) if knows(name) else 0.0
    colocation = claim(UNEXPLAINED, gain - slope)
    booked = claim("_reference", -reference)  # cancels against the layer's reference
    excess = slope + reference
    if name in _HALF_OFF:
        return [claim("dead_relu" if excess < 0.0 else UNEXPLAINED, excess), booked, colocation]
    intrinsic = min(max(excess, usual + reference), 0.0) if usual + reference < 0.0 else 0.0
    saturated = excess - intrinsic
    if saturated >= 0.0:
        return [claim("contracting_activation", intrinsic + saturated), booked, colocation]
    if name in _DRIFTING:
        return [claim("contracting_activation", excess), booked, colocation]
    cause = "saturated_output" if output_stage else "saturated_activation"
    return [
        claim("contracting_activation", intrinsic),
        claim(cause, saturated),
        booked,
        colocation,
    ]


def _split_lstm(op: Op, gain: float, values: StepValues) -> Iterable[Claim]:
    """Split the gain of one layer of a fused LSTM, from its outputs to what it was fed.

    ``log10 g = log10(|W_ih|_F / sqrt(4 H)) + log10 rms(d h / d z) + what time adds``: the gates
    and their slopes stand between an output and what its own step was fed. At zero they take
    0.25, what is below that is saturated.
    """
    fed = next((p for p in op.parameters if "weight_ih" in p), None)
    cells = cells_of(op)
    square = values.at(cells, Kind.ACTIVATION, "mean_squared_slope") if cells else None
    scale = values.scale(fed) if fed else None
    if not square or not scale:
        return [Claim(UNEXPLAINED, op.index, op.path, gain)]
    slope, excess = 0.5 * math.log10(square), math.log10(scale)
    intrinsic = min(max(slope, _GATES_AT_ZERO), 0.0)
    parts = {
        "small_init" if excess < 0.0 else "large_init": excess,
        "contracting_activation": intrinsic,
        "saturated_activation": slope - intrinsic,
        UNEXPLAINED: gain - slope - excess,
    }
    return [Claim(cause, op.index, op.path, decades) for cause, decades in parts.items()]


def _reference_before(op: Op, graph: FlowGraph, values: StepValues) -> float:
    """Return the weight scale that suits the activation which feeds the layer `op`."""
    index = op.index
    for _ in range(6):
        edges = graph.producers[index]
        if len(edges) != 1:
            return 1.0
        below = graph.ops[edges[0].producer]
        if below.role is OpRole.ACTIVATION:
            name = activation_name(below, values.get(below, Kind.ACTIVATION, "slope_supremum"))
            return reference_gain(name) if knows(name) else 1.0
        if below.role in (OpRole.LINEAR, OpRole.EMBEDDING, OpRole.RECURRENT, OpRole.MERGE):
            return 1.0
        index = below.index
    return 1.0


def _branched(stage: Stage, gain: float, graph: FlowGraph, values: StepValues) -> Iterable[Claim]:
    """Open parallel branches, none of them free of layers, along the one that carries most."""
    rest = gain
    claims: list[Claim] = []
    index = stage.start
    for _ in range(len(stage.inner) + 1):
        op = graph.ops[index]
        within = stage.inner | {stage.end}
        edges = [edge for edge in graph.producers[index] if edge.producer in within]
        strongest = max(
            edges,
            key=lambda edge: values.log_norm(graph.ops[edge.producer]) or -math.inf,
            default=None,
        )
        if strongest is None:
            break
        here, below = values.log_norm(op), values.log_norm(graph.ops[strongest.producer])
        if (
            here is not None
            and below is not None
            and len(edges) == 1
            and strongest.producer != stage.end
        ):
            split = [
                c
                for c in _split(op, below - here, graph, values, output_stage=False)
                if c.cause not in (UNEXPLAINED, "_normalization")
            ]
            claims.extend(split)
            rest -= sum(c.decades for c in split)
        index = strongest.producer
        if index == stage.end:
            break
    claims.append(Claim(UNEXPLAINED, stage.start, graph.ops[stage.start].path, rest))
    return claims


def _net_normalization(raw: Sequence[Claim], end: Op | None) -> list[Claim]:
    """Net each normalisation with what it undoes the scale of.

    That is the next layer towards the input or, where it stands right above a residual sum (a
    post-norm block), the sum: it takes off what the branch has added, and the gradient with it.
    """
    out: list[Claim] = []
    waiting: Claim | None = None
    for claim in raw:
        if claim.cause == "_normalization":
            if waiting is not None:
                out.append(replace(waiting, cause=_norm_cause(waiting.decades)))
            waiting = claim
        elif claim.cause == "_residual":
            above = waiting.decades if waiting is not None else 0.0
            net = claim.decades + above
            adds = net > 0.0 or waiting is not None
            cause = "unscaled_residual" if adds else UNEXPLAINED
            out.append(replace(claim, cause=cause, decades=net))
            waiting = None
        elif waiting is not None and claim.cause in ("small_init", "large_init"):
            net = claim.decades + waiting.decades
            out.append(Claim(_norm_cause(net), waiting.op, waiting.path, net))
            waiting = None
        else:
            out.append(claim)
    if waiting is not None:
        # the last one undoes the scale of the deepest layer, which the line does not cross
        embedded = end is not None and end.role is OpRole.EMBEDDING
        cause = "embedding_scale" if embedded else _norm_cause(waiting.decades)
        out.append(replace(waiting, cause=cause))
    return out


def _norm_cause(net: float) -> str:
    return "small_init" if net < 0.0 else "plain_depth"


def _book_depth(claims: Sequence[Claim], graph: FlowGraph) -> list[Claim]:
    """Settle what only a pair of layer and activation can tell: depth, drift; drop references."""
    pairs: list[list[Claim]] = []
    current: list[Claim] = []
    for claim in claims:
        if claim.cause in ("small_init", "large_init") and current:
            pairs.append(current)
            current = []
        current.append(claim)
    pairs.append(current)
    normalized = any(op.role is OpRole.NORMALIZATION for op in graph.ops)
    out: list[Claim] = []
    for pair in pairs:
        named = [c for c in pair if c.cause not in (UNEXPLAINED, "_reference")]
        references = [c for c in pair if c.cause == "_reference"]
        left = sum(c.decades for c in references)
        out.extend(c for c in pair if c.cause == UNEXPLAINED)
        if references and abs(left) > 0.0:
            out.append(replace(references[0], cause=UNEXPLAINED, decades=left))
        whole = sum(c.decades for c in named)
        scales = [c for c in named if c.cause in ("small_init", "large_init")]
        slopes = [c for c in named if c.cause == "contracting_activation"]
        if scales and slopes and abs(whole) < NEAR_CRITICAL:
            out.append(replace(scales[0], cause="plain_depth", decades=whole))
            continue
        for each in named:
            drifts = (
                not normalized
                and each.cause == "contracting_activation"
                and scales
                and scales[0].decades > -NEAR_CRITICAL
                and activation_name(graph.ops[each.op], None) in _DRIFTING
            )
            out.append(replace(each, cause="missing_normalization") if drifts else each)
    return out

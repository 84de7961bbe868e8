"""Take an activation that a script writes out, as ``1 / (1 + exp(-x))``, as the one that it is.

Elementwise ops on one value, one after the other, are together one elementwise function: the gain
of the run is the size of its slope where it works, whatever each op does by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..flow import FlowGraph, Op, OpRole
from .account import UNEXPLAINED, Claim

# What bends a run: sums with constants and products with them are a change of scale.
_BENDS = frozenset(
    {"exp", "expm1", "reciprocal", "pow", "sqrt", "rsqrt", "log", "log1p", "log2", "abs", "square"}
)
_ELEMENTWISE = frozenset({OpRole.SCALE, OpRole.MERGE})


def join_written_out(
    claims: Sequence[Claim], lone: Iterable[int], graph: FlowGraph, *, first_layer: int
) -> list[Claim]:
    """Return the claims with each run that shrinks the gradient as one activation's.

    Args:
        claims: of the ops on the main line, the output's side first.
        lone: indices of ops that are alone on their way: what goes in is one value.
        graph: of the ops.
        first_layer: place in `claims` from which on a layer lies above: what an output is put
            through is the loss's affair.
    """
    alone = frozenset(lone)
    out: list[Claim] = []
    run: list[Claim] = []
    for place, claim in enumerate(claims):
        op = graph.ops[claim.op]
        elementwise = op.role in _ELEMENTWISE and claim.op in alone and claim.cause == UNEXPLAINED
        if elementwise and place >= first_layer:
            run.append(claim)
            continue
        out += _as_one(run, graph)
        run = []
        out.append(claim)
    return out + _as_one(run, graph)


def _as_one(run: Sequence[Claim], graph: FlowGraph) -> list[Claim]:
    bends: list[Op] = [graph.ops[claim.op] for claim in run if graph.ops[claim.op].name in _BENDS]
    total = sum(claim.decades for claim in run)
    if not bends or total >= 0.0:
        return list(run)
    return [Claim("contracting_activation", bends[-1].index, bends[-1].path, total)]

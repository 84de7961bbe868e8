"""Find a loss whose minus is missing, or one too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._types import Kind

if TYPE_CHECKING:
    from ..flow import FlowGraph
    from .case import Case


def reversed_loss(case: Case) -> str | None:
    """Return the path of the loss whose growth the training rewards, None where there is none.

    It has to be all of the total, at every sample: beside a task of its own it is an adversary's.
    And the layer that answers has to learn from it: whoever trains against a frozen classifier,
    or a generator against its discriminator, wants it to fail.
    """
    terms = [path for path in case.readings.paths(Kind.LOSS, "value") if path != "loss"]
    if len(terms) != 1:
        return None
    turned, _ = case.readings.series(terms[0], Kind.LOSS, "reversed")
    seen, _ = case.readings.series(terms[0], Kind.LOSS, "value")
    _, rest = case.readings.series("loss", Kind.LOSS, "unread")
    beside = (abs(rest) > 0.0).any()  # NaN, of a loss that broke, tells nothing
    if not turned.size or turned.size != seen.size or beside:
        return None
    learning = {p.path for p in case.record.parameters if p.trainable and p.optimized and p.fed}
    answers = _answering(case.graph)
    return terms[0] if answers and answers <= learning else None


def _answering(graph: FlowGraph) -> set[str]:
    """Return the parameters of the first ops at or below the outputs that have any."""
    found: set[str] = set()
    waiting, seen = list(graph.outputs), set(graph.outputs)
    while waiting:
        place = waiting.pop()
        if graph.ops[place].parameters:
            found.update(graph.ops[place].parameters)
            continue
        below = {edge.producer for edge in graph.producers[place]} - seen
        seen |= below
        waiting.extend(below)
    return found

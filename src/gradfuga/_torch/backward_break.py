"""Find the op of a sampled backward pass that was given a finite gradient and passed on another."""

from __future__ import annotations

import math

from .norms import Measured
from .tape import TapeRecord


def broken_backward(record: TapeRecord) -> int | None:
    """Return the position of the op, None where every gradient is finite or lies on a device."""
    gradients = record.gradient
    if all(_is_sound(each) for each in gradients.values()) and all(
        _is_sound(seen.norm) for seen in record.weight_gradient.values()
    ):
        return None
    path = record.walk
    consumers: dict[int, list[tuple[int, int]]] = {}
    for consumer, slot, producer in path.edges:
        consumers.setdefault(producer, []).append((consumer, slot))
    for place in range(len(path.nodes)):  # consumers first
        if place not in gradients:
            continue
        if _is_sound(gradients[place]):
            seen = [record.weight_gradient.get(id(p)) for _, p in path.leaves[place]]
            if any(each is not None and not _is_sound(each.norm) for each in seen) and all(
                _is_sound(gradients.get(p, 0.0)) for c, _, p in path.edges if c == place
            ):
                return place
            continue
        given = [
            edge
            for edge in consumers.get(place, ())
            if edge[0] in gradients and _is_sound(gradients[edge[0]])
        ]
        if not given:
            return None  # the loss itself is no number
        own = [edge for edge in given if not _is_sound(record.edges.get(edge, 0.0))]
        return (own or given)[0][0]
    return None


def _is_sound(value: Measured) -> bool:
    """Whether a norm is finite; one that lies on a device is not waited for."""
    return not isinstance(value, float) or math.isfinite(value)

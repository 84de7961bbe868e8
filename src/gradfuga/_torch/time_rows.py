"""Write the curves of a sampled step as rows: one path a recurrence, one statistic a lag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._types import Kind
from .lags import LagCurve
from .naming import Names
from .norms import Measured
from .recorder import Recorder

_OF_GRADIENT = frozenset({"lyapunov"})
_OF_WEIGHT = frozenset({"recurrent_scale", "recurrent_norm", "recurrent_radius"})


def write_curves(
    recorder: Recorder,
    step: int,
    curves: Iterable[LagCurve],
    names: Names,
    read: Mapping[int, Measured],
) -> None:
    """Write every curve whose weight belongs to the training, under the weight's name.

    ``lag_norm.K``, ``lag_spread.K`` and ``lag_input.K`` are the gradient at the joint state K
    steps before the loss, its spread over the examples in decades, and the gradient at that
    step's input; ``time_steps`` and ``time_cut`` the length of the recurrence and the number of
    steps through which a gradient flows, where that is less than the task has; ``time_continued``
    is 1 where the first state has a gradient of its own, as a decoder's has; ``read_steps`` at how
    many steps the loss reads the recurrence directly.

    Args:
        recorder: takes the rows.
        step: of the training.
        curves: of the recurrences.
        names: of the training's parameters.
        read: what the backward pass showed of the layers' outputs, by the op that made them.
    """
    for curve in curves:
        known = names.parameters.get(curve.weight)
        if not known:
            continue
        path = known[0]
        for lag, norm, spread, entered in zip(
            curve.lag, curve.norm, curve.spread, curve.input, strict=True
        ):
            add = recorder.add
            add(step, path, Kind.ACTIVATION_GRAD, f"lag_norm.{lag}", norm)
            add(step, path, Kind.ACTIVATION_GRAD, f"lag_spread.{lag}", spread)
            add(step, path, Kind.ACTIVATION_GRAD, f"lag_input.{lag}", entered)
        recorder.add(step, path, Kind.ACTIVATION, "time_backward", float(curve.backward))
        if curve.output is not None:  # an op that the loss does not reach: the last state is read
            recorder.add(step, path, Kind.ACTIVATION, "read_steps", read.get(curve.output, 1.0))
        for name, value in curve.statistics.items():
            kind = (
                Kind.ACTIVATION_GRAD
                if name in _OF_GRADIENT
                else Kind.WEIGHT
                if name in _OF_WEIGHT
                else Kind.ACTIVATION
            )
            recorder.add(step, path, kind, name, value)

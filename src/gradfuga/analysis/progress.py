"""What the loss did: whether the network has learned anything, tested against noise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one training.

    `u` is 1 - (loss - floor) / (baseline - floor): 0 for the best constant prediction, 1 for a
    loss of zero. It does not change when the loss is multiplied by a constant.

    Attributes:
        known: whether a baseline is known, so that `u` means something.
        baseline: total loss of the best constant prediction; NaN where the targets were not seen.
        u: over the last losses.
        error: standard error of `u`.
        reference: the `u` that a cheap reference model reaches on held-out examples of the same
            batches; NaN where there is none.
        half_step: the first step at which half of the final progress was made.
        falling: whether the last half of the losses still falls (Mann-Kendall, z < -2.5).
        trend: that z.
        nonfinite_step: the first step with a NaN or infinite loss, None where there is none.
        first: the first loss, None where none was seen.
        last: the mean of the last losses, None where none was seen.
        informed: `u` is above what a constant can do, by more than noise.
        poor: informed, but below half of what this task is known to permit.
    """

    known: bool
    baseline: float
    u: float
    error: float
    reference: float
    half_step: int
    falling: bool
    trend: float
    nonfinite_step: int | None
    first: float | None
    last: float | None
    informed: bool
    poor: bool

"""Where a remedy is to be applied, and what the findings say of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._types import Axis, Verdict

if TYPE_CHECKING:
    from .._types import Diagnosis, Evidence

_BLOCK_PARTS = frozenset({"self_attn", "norm1", "norm2", "linear1", "linear2"})
_MOST_PATHS = 1024  # an edit is made at all of them
_ADAPTIVE = ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adadelta")
_OF_THE_LOSS = frozenset({"pairs", "reversed_loss", "log_total"})
_BY_PATH = frozenset({"large_init", "unscaled_residual"})


def named(diagnosis: Diagnosis, causes: Iterable[str]) -> bool:
    """Whether `diagnosis` names one of `causes`."""
    wanted = frozenset(causes)
    return any(cause.name in wanted for cause in diagnosis.causes)


def faults_of_the_loss(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Return what the causes show of a loss that is not what it is meant to be, in their order."""
    shown = [
        finding.evidence[0].statistic
        for finding in diagnosis.findings
        if finding.cause == "data_or_labels" and finding.evidence
    ]
    return tuple(statistic for statistic in shown if statistic in _OF_THE_LOSS)


def main_cause(diagnosis: Diagnosis) -> str:
    """Return the cause with the largest share, "" where none is named."""
    largest = max(diagnosis.causes, key=lambda cause: cause.share, default=None)
    return largest.name if largest is not None else ""


def places(diagnosis: Diagnosis, causes: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that `causes` act at, the larger cause's first."""
    wanted = frozenset(causes)
    ordered = sorted(diagnosis.causes, key=lambda cause: -cause.share)
    paths = [path for cause in ordered if cause.name in wanted for path in cause.paths]
    return tuple(dict.fromkeys(paths))[:_MOST_PATHS]


def gated(diagnosis: Diagnosis) -> bool:
    """Whether what contracts are the gates of recurrent layers, which cannot be swapped."""
    paths = places(diagnosis, ("contracting_activation",))
    return bool(paths) and all(".weight_ih_l" in f".{path}" for path in paths)


def evidence_of(diagnosis: Diagnosis, cause: str, statistic: str) -> tuple[Evidence, ...]:
    """Return the readings of `statistic` that the findings on `cause` rest on."""
    return tuple(
        each
        for finding in diagnosis.findings
        if finding.cause == cause
        for each in finding.evidence
        if each.statistic == statistic
    )


def lag_needed(diagnosis: Diagnosis) -> float:
    """Return how many time steps back the task reaches, as far as the findings say; else 0."""
    found = [
        each.expected
        for finding in diagnosis.findings
        if finding.axis is Axis.TIME
        for each in finding.evidence
        if each.unit == "steps" and math.isfinite(each.expected)
    ]
    return max(found, default=0.0)


def wanted_gain(diagnosis: Diagnosis) -> float:
    """Return the weight scale that suits the activations in use, NaN where it was not read.

    sqrt(2) and above for the ReLU family, 1 for tanh, sigmoid and none.
    """
    expected = [
        each.expected
        for cause in ("small_init", "large_init")
        for each in evidence_of(diagnosis, cause, "scale")
    ]
    return max(expected, default=math.nan)


def hidden_layers(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Return the layers of the main line without the output's; none means all hidden ones.

    Where dead units cut the main line, the layers below the cut are not on it: all are meant then.
    """
    return () if named(diagnosis, ("dead_relu",)) else diagnosis.depth.path[1:]


def adaptive(diagnosis: Diagnosis) -> bool:
    """Whether the optimizer divides the gradient by its own size, as Adam does."""
    return diagnosis.run.optimizer.startswith(_ADAPTIVE)


def clipping_helps(diagnosis: Diagnosis) -> bool:
    """Whether a bound on the gradient can shorten the steps that do the harm.

    Not where large weights saturate without an explosion, nor where an adaptive optimizer, whose
    steps have the length of the rate whatever the gradient is, takes too long ones.
    """
    main = main_cause(diagnosis)
    if main == "learning_rate_too_high":
        return not adaptive(diagnosis)
    return diagnosis.verdict is Verdict.EXPLODING or main not in _BY_PATH


def residual(diagnosis: Diagnosis) -> bool:
    """Whether the diagnosis speaks of residual branches, so that skip connections are there."""
    return named(diagnosis, ("unscaled_residual",)) or transformer(diagnosis)


def normalized(diagnosis: Diagnosis) -> bool:
    """Whether the diagnosis speaks of normalizations, so that some are there."""
    return transformer(diagnosis)


def transformer(diagnosis: Diagnosis) -> bool:
    """Whether the main line, or a cause, goes through blocks of `nn.TransformerEncoder`'s kind.

    Residual blocks that shrink the gradient are normalised behind the sum, which is their kind.
    """
    if diagnosis.verdict is Verdict.VANISHING and named(diagnosis, ("unscaled_residual",)):
        return True
    paths = [*diagnosis.depth.path, *(path for c in diagnosis.causes for path in c.paths)]
    return any(part in _BLOCK_PARTS for path in paths for part in path.split("."))

"""The edits: everything that may be done to a user's model or training, as data.

The union is closed on purpose. Each record has a `kind`, the `paths` it acts at (PyTorch's dotted
names; none means everywhere that it fits) and a `safety`. `gradfuga._sentences` says each in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, final

Paths = tuple[str, ...]


class Safety(StrEnum):
    """What an edit may change."""

    SAFE = "safe"  # outputs stay equal
    UNSAFE = "unsafe"  # outputs change: asks for consent
    ADVICE = "advice"  # printed only


@final
@dataclass(frozen=True, slots=True)
class Advise:
    """Something that only the user can do."""

    kind: ClassVar[str] = "advise"
    safety: ClassVar[Safety] = Safety.ADVICE
    text: str
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SwapActivation:
    """Put the activation `to` in place of those at `paths` and their like.

    `to` is a name of `gradfuga.theory.activations`; `of` that of the activation that goes, ""
    for whichever acts at `paths`. A `normalized` one is a phi(x) + b with unit slope and unit size
    for inputs of unit variance.
    """

    kind: ClassVar[str] = "swap_activation"
    safety: ClassVar[Safety] = Safety.UNSAFE
    to: str
    of: str = ""
    normalized: bool = False
    paths: Paths = ()


Scheme = Literal["fan_in", "fan_average", "orthogonal", "normal", "identity"]


@final
@dataclass(frozen=True, slots=True)
class Initialize:
    """Draw the weights of layers anew; their biases start at zero.

    The standard deviation is gain/sqrt(fan_in), gain/sqrt(mean fan) or the gain itself ("normal");
    "orthogonal" and "identity" are multiplied by it. A gain of zero starts the layer at zero.
    `recurrent` draws the hidden-to-hidden weights of recurrent layers instead, or the square
    weights that `paths` names where a loop of the user's own applies them; with `inputs` it draws
    input-to-hidden weights, those that `paths` names (``"lstm.weight_ih_l1"``).
    """

    kind: ClassVar[str] = "initialize"
    safety: ClassVar[Safety] = Safety.UNSAFE
    scheme: Scheme
    gain: float = 1.0
    recurrent: bool = False
    inputs: bool = False
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class Calibrate:
    """Scale orthogonal weights on the first batch until every layer puts out unit variance (LSUV).

    `two_sided` also gives each activation the slope and shift that make the layer's gain one.
    """

    kind: ClassVar[str] = "calibrate"
    safety: ClassVar[Safety] = Safety.UNSAFE
    two_sided: bool = False
    paths: Paths = ()


Normalization = Literal["batch", "layer", "group", "rms"]


@final
@dataclass(frozen=True, slots=True)
class InsertNormalization:
    """Put a normalization between each layer and its activation."""

    kind: ClassVar[str] = "insert_normalization"
    safety: ClassVar[Safety] = Safety.UNSAFE
    to: Normalization
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class AddSkip:
    """Make ``x + scale * f(x)`` of every layer or block f that keeps the shape.

    A scale of None is 1/sqrt(blocks). A `learned` scale is a parameter (ReZero, SkipInit).
    """

    kind: ClassVar[str] = "add_skip"
    safety: ClassVar[Safety] = Safety.UNSAFE
    scale: float | None = None
    learned: bool = False
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class ScaleBranch:
    """Multiply what the layers at `paths`, the last of their residual branches, put out.

    A scale of None is 1/sqrt(branches).
    """

    kind: ClassVar[str] = "scale_branch"
    safety: ClassVar[Safety] = Safety.UNSAFE
    scale: float | None = None
    learned: bool = False
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class MoveNormalization:
    """Turn post-norm transformer blocks into pre-norm ones, or give them DeepNorm's scales."""

    kind: ClassVar[str] = "move_normalization"
    safety: ClassVar[Safety] = Safety.UNSAFE
    to: Literal["pre", "deepnorm"] = "pre"
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SetBias:
    """Set the biases of layers to a constant."""

    kind: ClassVar[str] = "set_bias"
    safety: ClassVar[Safety] = Safety.UNSAFE
    value: float = 0.0
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SetGateBias:
    """Open the gates that keep the state of an LSTM or GRU.

    With a `horizon` of T steps the biases are drawn as log U(1, T-1) (chrono), else all are
    `value`.
    """

    kind: ClassVar[str] = "set_gate_bias"
    safety: ClassVar[Safety] = Safety.UNSAFE
    value: float = 1.0
    horizon: int | None = None
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class ReplaceRecurrent:
    """Put a gated recurrent layer of the same size in place of a plain one."""

    kind: ClassVar[str] = "replace_recurrent"
    safety: ClassVar[Safety] = Safety.UNSAFE
    to: Literal["lstm", "gru"] = "lstm"
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class ReviveUnits:
    """Draw the incoming weights of units that the first batch finds dead anew."""

    kind: ClassVar[str] = "revive_units"
    safety: ClassVar[Safety] = Safety.UNSAFE
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class StandardizeInput:
    """Take the mean off the model's input and divide it by its spread, from the first batch."""

    kind: ClassVar[str] = "standardize_input"
    safety: ClassVar[Safety] = Safety.UNSAFE
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class UseLogits:
    """Take the loss of a sigmoid output on its logits (binary cross-entropy)."""

    kind: ClassVar[str] = "use_logits"
    safety: ClassVar[Safety] = Safety.SAFE
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SetOptimizer:
    """Set an option of every parameter group, or multiply it (`relative`)."""

    kind: ClassVar[str] = "set_optimizer"
    safety: ClassVar[Safety] = Safety.SAFE
    option: Literal["lr", "eps", "weight_decay", "momentum"]
    value: float
    relative: bool = False
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class WarmUp:
    """Let the learning rate rise to its value over the first steps."""

    kind: ClassVar[str] = "warm_up"
    safety: ClassVar[Safety] = Safety.SAFE
    steps: int
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SetLayerRates:
    """Multiply the learning rate of the layers at `paths`, one factor each."""

    kind: ClassVar[str] = "set_layer_rates"
    safety: ClassVar[Safety] = Safety.SAFE
    factors: tuple[float, ...]
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class ClipGradient:
    """Bound the gradient before each step: its norm, each unit's (AGC), or its outliers (ZClip).

    `threshold` is the largest norm, AGC's ratio to the weight, ZClip's standard deviations, or
    the quantile of all norms so far (AutoClip).
    """

    kind: ClassVar[str] = "clip_gradient"
    safety: ClassVar[Safety] = Safety.SAFE
    method: Literal["norm", "agc", "zclip", "quantile"]
    threshold: float
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class LoosenClipping:
    """Multiply the bound of every clipping that the script does itself by `factor`."""

    kind: ClassVar[str] = "loosen_clipping"
    safety: ClassVar[Safety] = Safety.SAFE
    factor: float
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class HoldRate:
    """Keep the learning rate that the optimizer was built with, whatever a schedule does to it."""

    kind: ClassVar[str] = "hold_rate"
    safety: ClassVar[Safety] = Safety.SAFE
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class SetPrecision:
    """Change the number format of the training."""

    kind: ClassVar[str] = "set_precision"
    safety: ClassVar[Safety] = Safety.UNSAFE
    to: Literal["scaled", "bfloat16", "float32_weights"]
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class ClearGradients:
    """Set the gradients to zero after each step.

    If `moved`, they are not set to zero between the backward pass and the step any more.
    """

    kind: ClassVar[str] = "clear_gradients"
    safety: ClassVar[Safety] = Safety.SAFE
    moved: bool = False
    paths: Paths = ()


@final
@dataclass(frozen=True, slots=True)
class Unfreeze:
    """Let weights train: they require gradients, and the optimizer holds them."""

    kind: ClassVar[str] = "unfreeze"
    safety: ClassVar[Safety] = Safety.SAFE
    paths: Paths = ()


Edit = (
    Advise
    | SwapActivation
    | Initialize
    | Calibrate
    | InsertNormalization
    | AddSkip
    | ScaleBranch
    | MoveNormalization
    | SetBias
    | SetGateBias
    | ReplaceRecurrent
    | ReviveUnits
    | StandardizeInput
    | UseLogits
    | SetOptimizer
    | WarmUp
    | SetLayerRates
    | ClipGradient
    | LoosenClipping
    | HoldRate
    | SetPrecision
    | ClearGradients
    | Unfreeze
)

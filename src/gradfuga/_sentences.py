"""Say each edit in one sentence, in the user's language."""

from __future__ import annotations

from ._edits import (
    AddSkip,
    Advise,
    Calibrate,
    ClearGradients,
    ClipGradient,
    Edit,
    HoldRate,
    Initialize,
    InsertNormalization,
    LoosenClipping,
    MoveNormalization,
    ReplaceRecurrent,
    ReviveUnits,
    ScaleBranch,
    SetBias,
    SetGateBias,
    SetLayerRates,
    SetOptimizer,
    SetPrecision,
    StandardizeInput,
    SwapActivation,
    Unfreeze,
    UseLogits,
    WarmUp,
)
from ._messages import _


def sentence(edit: Edit) -> str:
    """Return what `edit` does, in one sentence; where it does it is in its `paths`.

    Example:
        >>> from gradfuga._edits import Initialize
        >>> sentence(Initialize("fan_in", 2.0))
        'Draw the weights with deviation 2 / sqrt(fan_in).'
    """
    match edit:
        case Advise():
            return edit.text
        case SwapActivation():
            if edit.normalized:
                return _(
                    "Normalize the activation: {activation}, stretched and shifted to unit slope "
                    "and unit size."
                ).format(activation=edit.to)
            return _("Use {activation} as the hidden activation.").format(activation=edit.to)
        case Initialize():
            if edit.gain == 0.0:
                return _("Start these layers at zero.")
            words = {
                "fan_in": _("Draw the weights with deviation {gain} / sqrt(fan_in)."),
                "fan_average": _(
                    "Draw the weights with standard deviation {gain} / sqrt(mean fan)."
                ),
                "orthogonal": _("Draw orthogonal weights of gain {gain}."),
                "normal": _("Draw the weights with deviation {gain}."),
                "identity": _("Start the weights at {gain} times the identity."),
            }
            return words[edit.scheme].format(gain=f"{edit.gain:.4g}")
        case Calibrate():
            if edit.two_sided:
                return _("Scale the layers on the first batch to unit variance and unit gain.")
            return _("Scale the layers on the first batch to unit variance (LSUV).")
        case InsertNormalization():
            return _("Put {normalization} between each layer and its activation.").format(
                normalization={
                    "batch": "BatchNorm",
                    "layer": "LayerNorm",
                    "group": "GroupNorm",
                    "rms": "RMSNorm",
                }[edit.to]
            )
        case AddSkip():
            if edit.learned:
                return _(
                    "Add skip connections with a learned factor that starts at {scale}."
                ).format(scale=f"{edit.scale or 0.0:.4g}")
            return _("Add skip connections: {code}").format(
                code="x + f(x) / sqrt(blocks)"
                if edit.scale is None
                else f"x + {edit.scale:.4g} * f(x)"
            )
        case ScaleBranch():
            scale = "1 / sqrt(branches)" if edit.scale is None else f"{edit.scale:.4g}"
            if edit.learned:
                return _("Multiply each branch by a learned factor that starts at {scale}.").format(
                    scale=scale
                )
            return _("Multiply each branch by {scale}.").format(scale=scale)
        case MoveNormalization():
            if edit.to == "pre":
                return _("Normalize before attention and feed-forward layers (norm_first=True).")
            return _("Scale the transformer blocks as DeepNorm does.")
        case SetBias():
            return _("Set the biases to {value}.").format(value=f"{edit.value:.4g}")
        case SetGateBias():
            if edit.horizon is not None:
                return _("Draw the gates' biases for memories of up to {horizon} steps.").format(
                    horizon=edit.horizon
                )
            return _("Start the forget gate's bias at {value}.").format(value=f"{edit.value:.4g}")
        case ReplaceRecurrent():
            return _("Replace the recurrent layer by {layer}.").format(
                layer=f"nn.{edit.to.upper()}"
            )
        case ReviveUnits():
            return _("Draw the incoming weights of dead units anew.")
        case StandardizeInput():
            return _("Standardize the model's input.")
        case UseLogits():
            return _("Train on the logits with binary cross-entropy.")
        case SetOptimizer():
            if edit.relative:
                return _("Multiply the optimizer's {option} by {value}.").format(
                    option=edit.option, value=f"{edit.value:.4g}"
                )
            return _("Set the optimizer's {option} to {value}.").format(
                option=edit.option, value=f"{edit.value:.4g}"
            )
        case WarmUp():
            return _("Let the learning rate rise over the first {steps} steps.").format(
                steps=edit.steps
            )
        case SetLayerRates():
            return _("Give the layers learning rates of their own, up to {factor} times.").format(
                factor=f"{max(edit.factors, default=1.0):.4g}"
            )
        case ClipGradient():
            words = {
                "norm": _("Clip the gradient's norm at {threshold}."),
                "agc": _("Clip each unit's gradient at {threshold} times its weight's norm (AGC)."),
                "zclip": _("Clip gradient norms {threshold} standard deviations out (ZClip)."),
                "quantile": _("Clip at the {threshold} quantile of the norms so far (AutoClip)."),
            }
            return words[edit.method].format(threshold=f"{edit.threshold:.4g}")
        case LoosenClipping():
            return _("Multiply the bound of the clipping by {factor}.").format(
                factor=f"{edit.factor:.4g}"
            )
        case HoldRate():
            return _("Keep the learning rate where it starts: no schedule.")
        case SetPrecision():
            return {
                "scaled": _("Scale the loss with torch.amp.GradScaler."),
                "bfloat16": _("Compute in bfloat16 instead of float16."),
                "float32_weights": _("Keep the weights in float32."),
            }[edit.to]
        case ClearGradients(moved=True):
            return _("Clear the gradients before each backward pass: {code}").format(
                code="optimizer.zero_grad(); loss.backward(); optimizer.step()"
            )
        case ClearGradients():
            return _("Set the gradients to zero after each step.")
        case Unfreeze():
            return _("Let these weights train, and hand them to the optimizer.")

"""The vocabulary of autograd: which role each node of the backward graph plays."""

from __future__ import annotations

from functools import lru_cache

from ..flow import OpRole, base_name

_ROLES: dict[OpRole, str] = {
    OpRole.LINEAR: (
        "Addmm Mm Bmm Baddbmm Addbmm Mv Addmv Convolution ConvolutionOverrideable Linear"
        " MkldnnLinear MkldnnConvolution CudnnConvolution CudnnConvolutionTranspose Trilinear Dot"
        " SlowConvDilated2D SlowConvDilated3D SlowConvTranspose2D ConvDepthwise2D Addr"
    ),
    OpRole.EMBEDDING: "Embedding EmbeddingBag EmbeddingDenseBackward",
    OpRole.RECURRENT: "MkldnnRnnLayer CudnnRnn Miopen ThnnFusedLstmCell ThnnFusedGruCell",
    OpRole.ATTENTION: (
        "ScaledDotProductFlashAttention ScaledDotProductFlashAttentionForCpu"
        " ScaledDotProductEfficientAttention ScaledDotProductCudnnAttention"
        " ScaledDotProductFusedAttentionOverrideable"
    ),
    OpRole.NORMALIZATION: (
        "NativeBatchNorm CudnnBatchNorm MiopenBatchNorm NativeLayerNorm NativeGroupNorm"
        " FusedRmsNorm RmsNorm"
    ),
    OpRole.ACTIVATION: (
        "Sigmoid Tanh Relu LeakyRelu Elu Gelu Silu Mish Softplus Hardtanh Hardsigmoid Hardswish"
        " LogSigmoid Erf Prelu PreluKernel Threshold RreluWithNoise Sin Cos Clamp ClampMin ClampMax"
        " Atan Relu6 Softshrink Hardshrink Celu Selu Maximum Minimum"
    ),
    OpRole.SOFTMAX: "Softmax LogSoftmax SafeSoftmax",
    OpRole.LOSS: (
        "NllLoss NllLoss2D MseLoss BinaryCrossEntropy BinaryCrossEntropyWithLogits SmoothL1Loss"
        " HuberLoss L1Loss KlDiv SoftMarginLoss MultiMarginLoss MultilabelMarginLoss Ctcloss"
        " CtcLoss"
    ),
    OpRole.SCALE: "Mul Div Neg Pow Sqrt Rsqrt Exp Log Log1P Log2 Abs Reciprocal Square Expm1",
    OpRole.MERGE: "Add Sub Rsub Cat Stack AddN Lerp Where Addcmul Addcdiv Hstack Logaddexp",
    OpRole.STRUCTURAL: (
        "View UnsafeView ReshapeAlias Transpose T Permute Unsqueeze Squeeze Expand Slice Select"
        " Index Gather IndexSelect Mean Sum AvgPool1D AvgPool2D AvgPool3D MaxPool1DWithIndices"
        " MaxPool2DWithIndices MaxPool3DWithIndices MkldnnMaxPool2D MkldnnMaxPool3D"
        " AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D AdaptiveMaxPool2D"
        " AdaptiveMaxPool3D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D"
        " UpsampleBilinear2D UpsampleLinear1D UpsampleTrilinear3D UpsampleBicubic2D"
        " UpsampleNearestExact2D ConstantPadNd ReflectionPad1D ReflectionPad2D ReplicationPad1D"
        " ReplicationPad2D Unbind Split SplitWithSizes UnsafeSplit Clone CopySlices Copy ToCopy"
        " Alias Repeat Flip Roll Unfold Im2Col Col2Im PixelShuffle PixelUnshuffle NativeDropout"
        " AsStrided Diagonal Max Min Amax Amin Logsumexp Scatter IndexPut MaskedFill Detach"
        " UnsafeMaskedIndex Swapaxes Narrow Movedim Flatten Std Var Norm LinalgVectorNorm Cumsum"
        " CudnnGridSampler GridSampler2D NestedTensorStrided PackPaddedSequence"
    ),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names.split()}

# An output that a loss turns into a probability belongs to the loss, wherever it stands in the
# script: cross entropy written as log_softmax in the model is the same function.
MATCHED_OUTPUTS = {
    "NllLoss": frozenset({"LogSoftmax"}),
    "NllLoss2D": frozenset({"LogSoftmax"}),
    "BinaryCrossEntropy": frozenset({"Sigmoid"}),
    "KlDiv": frozenset({"LogSoftmax"}),
}


# What torch.distributed puts on the tape: it moves the gradient between processes.
_HANDED_ON = frozenset(
    {
        "RegisterPostBackwardFunctionBackward",
        "_FromTorchTensorBackward",
        "_ToTorchTensorBackward",
        "RedistributeBackward",
    }
)


def is_native(node: str) -> bool:
    """Whether the node is PyTorch's own: a user's `autograd.Function` has no number at its end.

    Example:
        >>> is_native("SigmoidBackward0"), is_native("SigmoidBackward")
        (True, False)
    """
    return not node.endswith("Backward")


@lru_cache(maxsize=1024)
def role_of(node: str) -> OpRole:
    """Return what the node does to the gradient; an unknown one is opaque, never guessed."""
    if node in _HANDED_ON:
        return OpRole.STRUCTURAL
    return _ROLE_OF.get(base_name(node), OpRole.OPAQUE) if is_native(node) else OpRole.OPAQUE

"""The slopes of the elementwise activations that PyTorch makes, from what their nodes saved.

Every formula returns a fresh tensor, |phi'| or phi' element by element, the value that PyTorch's
own backward multiplies with, kinks and NaN included. An in-place activation saves its result
instead of its input (``LeakyReluBackward1``); the formulas take either where the sign decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from ._portions import full_precision

if TYPE_CHECKING:
    from torch import Tensor

    from .._contracts import NodeView


@dataclass(frozen=True, slots=True)
class Slope:
    """The slope of one op.

    Attributes:
        tensors: what the formula needs, all of the shape of the op's output.
        formula: slope element by element; of a gate, 1 where it is open and 0 where it is closed.
        supremum: sup |phi'| of the function, wherever it works now.
        gate: whether the slope takes the values 0 and `supremum` only; its supremum is a float.
        has_zeros: whether the slope is zero by design somewhere, though it is no gate.
    """

    tensors: tuple[Tensor, ...]
    formula: Callable[..., Tensor]
    supremum: float | Tensor
    gate: bool = False
    has_zeros: bool = False

    def evaluate(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return the slope at a portion of `self.tensors`, in at least float32."""
        return self.formula(*(full_precision(tensor) for tensor in tensors))


@dataclass(frozen=True, slots=True)
class Fixed:
    """An activation without settings: the saved tensor, the formula, the supremum."""

    saved: str
    formula: Callable[..., Tensor]
    supremum: float
    gate: bool = False
    has_zeros: bool = False

    def __call__(self, view: NodeView) -> Slope | None:
        """Return the slope of the node behind `view`."""
        tensor = view.saved(self.saved)
        if tensor is None:
            return None
        return Slope((tensor,), self.formula, self.supremum, self.gate, self.has_zeros)


# RReLU draws its slopes only where their interval is wider than this (PyTorch's own constant).
_DRAWN = 1e-6

# --- formulas; x is the input, y the result ------------------------------------------------------


def _sigmoid(y: Tensor) -> Tensor:
    return (1 - y).mul_(y)


def _tanh(y: Tensor) -> Tensor:
    return y.square().neg_().add_(1)


def _positive(y: Tensor) -> Tensor:
    return y.sign()  # a ReLU's result; NaN counts as closed


def _above(x: Tensor, *, threshold: float) -> Tensor:
    # closed first, so that NaN is open, as in PyTorch; so it is in the next formulas
    return x.clone().le_(threshold).neg_().add_(1)


def _leaky(x: Tensor, *, negative: float) -> Tensor:
    return x.clone().gt_(0).mul_(1 - negative).add_(negative)


def _elu(x: Tensor, *, left: float, rate: float, right: float) -> Tensor:
    curve = x.clamp(max=0).mul_(rate).exp_()  # 1 on the right side, where `right` belongs
    if left * rate != right:
        return curve.mul_(left * rate).add_(x.clone().gt_(0), alpha=right - left * rate)
    return curve if right == 1 else curve.mul_(right)


def _elu_from_result(y: Tensor, *, left: float, rate: float, right: float) -> Tensor:
    curve = y.clamp(max=0).add_(left)
    if rate != 1:
        curve.mul_(rate)
    if left * rate != right:
        curve.add_(y.clone().gt_(0), alpha=right - left * rate)
    return curve


def _gelu(x: Tensor) -> Tensor:
    density = x.square().mul_(-0.5).exp_().mul_(x).mul_(1 / math.sqrt(2 * math.pi))
    return x.mul(math.sqrt(0.5)).erf_().add_(1).mul_(0.5).add_(density)


def _gelu_tanh(x: Tensor) -> Tensor:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715  # Hendrycks and Gimpel 2016
    squared = x.square()
    bend = squared.mul(cubic).add_(1).mul_(x).mul_(scale).tanh_()
    inner = squared.mul_(3 * cubic).add_(1).mul_(scale).mul_(x)
    rest = bend.square().neg_().add_(1).mul_(inner)
    return bend.add_(1).add_(rest).mul_(0.5)


def _silu(x: Tensor) -> Tensor:
    gate = x.sigmoid()
    return (1 - gate).mul_(x).add_(1).mul_(gate)


def _mish(x: Tensor) -> Tensor:
    bend = x.exp().log1p_().tanh_()
    return bend.square().neg_().add_(1).mul_(x.sigmoid()).mul_(x).add_(bend)


def _softplus(x: Tensor, *, beta: float, threshold: float) -> Tensor:
    scaled = x.mul(beta)
    return scaled.sigmoid().masked_fill_(scaled > threshold, 1)


def _log_sigmoid(x: Tensor) -> Tensor:
    return x.neg().sigmoid_()


def _inside(x: Tensor, *, low: float, high: float) -> Tensor:
    return x.clone().le_(low).add_(x.clone().ge_(high)).neg_().add_(1)


def _hardsigmoid(x: Tensor) -> Tensor:
    return x.clone().gt_(-3).mul_(x.clone().lt_(3))


def _hardswish(x: Tensor) -> Tensor:
    return x.div(3).add_(0.5).masked_fill_(x.le(-3), 0).masked_fill_(x.ge(3), 1)


def _outside(x: Tensor, *, knee: float) -> Tensor:
    return x.clone().ge_(-knee).mul_(x.clone().le_(knee)).neg_().add_(1)


def _erf(x: Tensor) -> Tensor:
    return x.square().neg_().exp_().mul_(2 / math.sqrt(math.pi))


def _sin(x: Tensor) -> Tensor:
    return x.cos()


def _cos(x: Tensor) -> Tensor:
    return x.sin()


def _atan(x: Tensor) -> Tensor:
    return x.square().add_(1).reciprocal_()


def _clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return x.clone().ge_(low).mul_(x.clone().le_(high))


def _clamp_min(x: Tensor, low: Tensor) -> Tensor:
    return x.clone().ge_(low)


def _clamp_max(x: Tensor, high: Tensor) -> Tensor:
    return x.clone().le_(high)


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return (1 - weight).mul_(x.clone().gt_(0)).add_(weight)


def _noise(noise: Tensor) -> Tensor:
    return noise.clone()


def _maximum(x: Tensor, other: Tensor) -> Tensor:
    return x.clone().eq_(other).mul_(0.5).add_(x.clone().gt_(other))


def _minimum(x: Tensor, other: Tensor) -> Tensor:
    return x.clone().eq_(other).mul_(0.5).add_(x.clone().lt_(other))


# --- readers of the activations that have settings -----------------------------------------------


def _read_leaky(view: NodeView) -> Slope | None:
    x, negative = _either(view), view.setting("negative_slope")
    if x is None or negative is None:
        return None
    return Slope((x,), partial(_leaky, negative=negative), max(1.0, abs(negative)))


def _read_elu(view: NodeView) -> Slope | None:
    alpha = view.setting("alpha")
    scale, rate = view.setting("scale"), view.setting("input_scale")
    if alpha is None or scale is None or rate is None:
        return None
    return _exponential(view, left=alpha * scale, rate=rate, right=scale)


def _read_celu(view: NodeView) -> Slope | None:
    alpha = view.setting("alpha")
    if not alpha:
        return None
    return _exponential(view, left=alpha, rate=1 / alpha, right=1.0)


def _exponential(view: NodeView, *, left: float, rate: float, right: float) -> Slope | None:
    supremum = float(max(abs(right), abs(left * rate)))
    x, y = view.saved("self"), view.saved("result")
    if x is not None:
        return Slope((x,), partial(_elu, left=left, rate=rate, right=right), supremum)
    if y is not None:
        formula = partial(_elu_from_result, left=left, rate=rate, right=right)
        return Slope((y,), formula, supremum)
    return None


def _read_gelu(view: NodeView) -> Slope | None:
    x = view.saved("self")
    if x is None:
        return None
    if view.setting("approximate") == 1:
        return Slope((x,), _gelu_tanh, 1.1289930686587717)
    return Slope((x,), _gelu, 1.1289041451851549)  # at sqrt 2, the inflection of x Phi(x)


def _read_softplus(view: NodeView) -> Slope | None:
    x, beta, threshold = view.saved("self"), view.setting("beta"), view.setting("threshold")
    if x is None or beta is None or threshold is None:
        return None
    return Slope((x,), partial(_softplus, beta=beta, threshold=threshold), 1.0)


def _read_hardtanh(view: NodeView) -> Slope | None:
    x, low, high = view.saved("self"), view.setting("min_val"), view.setting("max_val")
    if x is None or low is None or high is None:
        return None
    return Slope((x,), partial(_inside, low=low, high=high), 1.0, gate=True)


def _read_threshold(view: NodeView) -> Slope | None:
    x, threshold = view.saved("self"), view.setting("threshold")
    if x is None or threshold is None:
        return None
    return Slope((x,), partial(_above, threshold=threshold), 1.0, gate=True)


def _read_shrink(view: NodeView) -> Slope | None:
    x, knee = view.saved("self"), view.setting("lambd")
    if x is None or knee is None:
        return None
    return Slope((x,), partial(_outside, knee=knee), 1.0, gate=True)


def _read_clamp(view: NodeView) -> Slope | None:
    x = view.saved("self")
    if x is None:
        return None
    low, high = _bound(view, "min", x), _bound(view, "max", x)
    if low is not None and high is not None:
        return Slope((x, low, high), _clamp, 1.0, gate=True)
    if low is not None:
        return Slope((x, low), _clamp_min, 1.0, gate=True)
    if high is not None:
        return Slope((x, high), _clamp_max, 1.0, gate=True)
    return None


def _bound(view: NodeView, name: str, x: Tensor) -> Tensor | None:
    """Return a bound of clamp, a number or a tensor that broadcasts, in the shape of `x`."""
    number = view.setting(name)
    bound = view.saved(name) if number is None else x.new_full((), number)
    return None if bound is None else bound.expand(x.shape)


def _read_prelu(view: NodeView) -> Slope | None:
    x, weight = view.saved("self"), view.saved("weight")
    if x is None or weight is None or weight.numel() == 0:
        return None
    supremum = full_precision(weight).abs().amax().clamp_(min=1)
    return Slope((x, weight.expand(x.shape)), _prelu, supremum, has_zeros=True)


def _read_rrelu(view: NodeView) -> Slope | None:
    lower, upper = view.setting("lower"), view.setting("upper")
    x, noise = _either(view), view.saved("noise")
    if x is None or lower is None or upper is None:
        return None
    supremum = max(1.0, abs(lower), abs(upper))
    if view.setting("training") and upper - lower > _DRAWN:
        return None if noise is None else Slope((noise,), _noise, supremum)
    return Slope((x,), partial(_leaky, negative=(lower + upper) / 2), supremum)


def _read_extremum(formula: Callable[..., Tensor], view: NodeView) -> Slope | None:
    """Read `maximum(x, constant)`; with a gradient on both sides it is a merge, no activation."""
    sides = {"self": view.saved("self"), "other": view.saved("other")}
    needed = [name for name, grad in zip(sides, view.grad_inputs, strict=False) if grad is not None]
    if len(needed) != 1:
        return None
    x = sides.pop(needed[0])
    (other,) = sides.values()
    if x is None or other is None or x.shape != view.grad_output.shape:
        return None
    return Slope((x, other.expand(x.shape)), formula, 1.0, has_zeros=True)


def _either(view: NodeView) -> Tensor | None:
    x = view.saved("self")
    return view.saved("result") if x is None else x


READERS: Mapping[str, Callable[[NodeView], Slope | None]] = MappingProxyType(
    {
        "Sigmoid": Fixed("result", _sigmoid, 0.25),
        "Tanh": Fixed("result", _tanh, 1.0),
        "Relu": Fixed("result", _positive, 1.0, gate=True),
        "LeakyRelu": _read_leaky,
        "Elu": _read_elu,  # also SELU, and CELU where PyTorch makes it from ELU
        "Celu": _read_celu,
        "Gelu": _read_gelu,
        "Silu": Fixed("self", _silu, 1.0998393201288671),  # numerical, near x = 2.3994
        "Mish": Fixed("self", _mish, 1.0884981612516502),  # numerical, near x = 1.4906
        "Softplus": _read_softplus,
        "LogSigmoid": Fixed("self", _log_sigmoid, 1.0),
        "Hardtanh": _read_hardtanh,  # also ReLU6
        # PyTorch multiplies with one sixth rounded to float32, in float64 too.
        "Hardsigmoid": Fixed("self", _hardsigmoid, 0.1666666716337204, gate=True),
        "Hardswish": Fixed("self", _hardswish, 1.5, has_zeros=True),
        "Hardshrink": _read_shrink,
        "Softshrink": _read_shrink,
        "Threshold": _read_threshold,
        "Clamp": _read_clamp,
        "ClampMin": _read_clamp,
        "ClampMax": _read_clamp,
        "Maximum": partial(_read_extremum, _maximum),
        "Minimum": partial(_read_extremum, _minimum),
        "PreluKernel": _read_prelu,
        "RreluWithNoise": _read_rrelu,
        "Erf": Fixed("self", _erf, 2 / math.sqrt(math.pi)),
        "Sin": Fixed("self", _sin, 1.0),
        "Cos": Fixed("self", _cos, 1.0),
        "Atan": Fixed("self", _atan, 1.0),
    }
)


def slope_of(view: NodeView) -> Slope | None:
    """Return the slope of the activation behind `view`, None where it cannot be read."""
    reader = READERS.get(view.name.partition("Backward")[0])
    slope = None if reader is None else reader(view)
    if slope is None or not slope.tensors[0].is_floating_point():
        return None
    return slope

"""Apply edits to an optimizer, and hand it the parameters that an edited model has."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from .._edits import (
    ClearGradients,
    ClipGradient,
    Edit,
    HoldRate,
    SetLayerRates,
    SetOptimizer,
    WarmUp,
)
from .naming import clean

ON_OPTIMIZER = (SetOptimizer, WarmUp, SetLayerRates, ClipGradient, ClearGradients, HoldRate)
Group = dict[str, object]
Optimizer = torch.optim.Optimizer


def edit_optimizer(optimizer: Optimizer, edit: Edit, model: nn.Module | None = None) -> bool:
    """Make one edit; return whether the optimizer has such an option."""
    match edit:
        case SetOptimizer():
            return _set_option(optimizer, edit)
        case WarmUp():
            warm_up = _WarmUp(edit.steps)
            optimizer.register_step_pre_hook(warm_up.before)
            optimizer.register_step_post_hook(warm_up.after)
            return True
        case SetLayerRates():
            return model is not None and _set_rates(optimizer, edit, model)
        case ClipGradient(method="zclip"):
            optimizer.register_step_pre_hook(_ZClip(edit.threshold))
            return True
        case ClipGradient(method="agc"):
            optimizer.register_step_pre_hook(_Adaptive(edit.threshold))
            return True
        case ClipGradient(method="quantile"):
            optimizer.register_step_pre_hook(_AutoClip(edit.threshold))
            return True
        case ClipGradient():
            optimizer.register_step_pre_hook(_Clip(edit.threshold))
            return True
        case HoldRate():
            optimizer.register_step_pre_hook(_Hold([g["lr"] for g in optimizer.param_groups]))
            return True
        case ClearGradients(moved=True):
            optimizer.register_step_pre_hook(_Kept(optimizer))
            optimizer.register_step_post_hook(_clear)
            return True
        case ClearGradients():
            optimizer.register_step_post_hook(_clear)
            return True
        case _:
            return False


def _set_option(optimizer: Optimizer, edit: SetOptimizer) -> bool:
    found = False
    for group in optimizer.param_groups:
        if edit.option not in group:
            continue
        found = True
        before = group[edit.option]
        value = before * edit.value if edit.relative else edit.value
        if isinstance(before, Tensor):
            before.fill_(float(value))
        else:
            group[edit.option] = value
        if edit.option == "lr" and "initial_lr" in group:  # a schedule was there before us
            group["initial_lr"] = group["initial_lr"] * edit.value if edit.relative else edit.value
    return found


def _set_rates(optimizer: Optimizer, edit: SetLayerRates, model: nn.Module) -> bool:
    """Give the layers that are named a group of their own, with their learning rate."""
    factors = dict(zip(edit.paths, edit.factors, strict=False))
    factor_of: dict[int, float] = {}
    for name, parameter in model.named_parameters():
        owner = clean(name).rpartition(".")[0]
        if owner in factors:
            factor_of[id(parameter)] = factors[owner]
    found = False
    for group in list(optimizer.param_groups):
        apart: dict[float, list[Tensor]] = {}
        for parameter in group["params"]:
            if id(parameter) in factor_of:
                apart.setdefault(factor_of[id(parameter)], []).append(parameter)
        for factor, parameters in apart.items():
            found = True
            own = {id(p) for p in parameters}
            rest = [p for p in group["params"] if id(p) not in own]
            options = {k: v for k, v in group.items() if k not in ("params", "param_names")}
            if rest:
                group["params"] = rest
                optimizer.param_groups.append({**options, "params": parameters})
                optimizer.param_groups[-1]["lr"] = group["lr"] * factor
            else:
                group["lr"] = group["lr"] * factor
    return found


@final
class _WarmUp:
    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.taken = 0
        self.rates: list[object] = []

    def before(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        self.taken += 1
        self.rates = []
        if self.taken < self.steps:
            for group in optimizer.param_groups:
                self.rates.append(group["lr"])
                group["lr"] = group["lr"] * (self.taken / self.steps)

    def after(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        for group, rate in zip(optimizer.param_groups, self.rates, strict=False):
            group["lr"] = rate


@final
class _Hold:
    """Sets the learning rate of each group right before every step."""

    def __init__(self, rates: Sequence[float | Tensor]) -> None:
        self.rates = [float(rate) for rate in rates]

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        for group, rate in zip(optimizer.param_groups, self.rates, strict=False):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def _held(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


@final
class _Clip:
    """Torch's own clipping by norm, right before the step."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        nn.utils.clip_grad_norm_(_held(optimizer), self.bound)


@final
class _Adaptive:
    """AGC: |g_i| <= ratio * max(|w_i|, 1e-3) for each unit i (Brock et al. 2021)."""

    def __init__(self, ratio: float, least: float = 1e-3) -> None:
        self.ratio = ratio
        self.least = least

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        for parameter in _held(optimizer):
            gradient = parameter.grad
            assert gradient is not None
            axes = tuple(range(1, parameter.dim())) or None
            if gradient.is_sparse:
                continue
            bound = self.ratio * _norm(parameter, axes).clamp_min(self.least)
            gradient.mul_((bound / _norm(gradient, axes).clamp_min(1e-12)).clamp_max(1.0))


def _norm(x: Tensor, axes: tuple[int, ...] | None) -> Tensor:
    return x.abs() if axes is None else torch.linalg.vector_norm(x, dim=axes, keepdim=True)


@final
class _AutoClip:
    """Clip at a quantile of all norms so far (Seetharaman et al. 2020)."""

    def __init__(self, quantile: float) -> None:
        self.quantile = quantile
        self.norms: list[float] = []  # kept in order

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        held = _held(optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in held if p.grad is not None])
        if torch.isfinite(norm):
            insort(self.norms, float(norm))
        if self.norms:
            bound = self.norms[int(self.quantile * (len(self.norms) - 1))]
            nn.utils.clip_grads_with_norm_(held, bound, norm)


@final
class _ZClip:
    """Clip the norms that lie far outside of their own running distribution (ZClip 2025).

    Mean m and variance v run with decay .97 after 25 steps of warm-up; a norm n with
    z = (n - m) / sqrt(v) > threshold is clipped to m + threshold^2 / z * sqrt(v), 1 at most.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.first: list[float] = []
        self.mean = 0.0
        self.variance = 0.0

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del args, kwargs
        held = _held(optimizer)
        if not held:
            return
        norm = float(nn.utils.get_total_norm([p.grad for p in held if p.grad is not None]))
        bound = norm
        if len(self.first) < 25:  # noqa: PLR2004 (the paper's warm-up)
            self.first.append(norm)
            self.mean = sum(self.first) / len(self.first)
            self.variance = sum((n - self.mean) ** 2 for n in self.first) / len(self.first)
        else:
            spread = max(self.variance, 1e-24) ** 0.5
            z = (norm - self.mean) / spread
            if z > self.threshold:
                bound = self.mean + self.threshold**2 / z * spread
            self.mean = 0.97 * self.mean + 0.03 * bound
            self.variance = 0.97 * self.variance + 0.03 * (bound - self.mean) ** 2
        nn.utils.clip_grads_with_norm_(held, min(bound, 1.0), torch.tensor(norm))


@final
class _Kept:
    """Hands the step what the backward pass has left, whatever has been cleared in between."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.kept: dict[Tensor, Tensor] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.register_post_accumulate_grad_hook(self._keep)

    def _keep(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.kept[parameter] = parameter.grad.clone()

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        del optimizer, args, kwargs
        for parameter, grad in self.kept.items():
            if parameter.grad is None or not bool(parameter.grad.any()):
                parameter.grad = grad
        self.kept.clear()


def _clear(optimizer: Optimizer, args: object, kwargs: object) -> None:
    del args, kwargs
    optimizer.zero_grad()


def successors(
    groups: Sequence[Group],
    replaced: Mapping[int, tuple[nn.Parameter, ...]],
    joined: Sequence[tuple[nn.Parameter | None, nn.Parameter]],
) -> None:
    """Rewrite `groups` in place: successors in the place of what they replace, newcomers behind.

    A newcomer joins the group of its neighbor, or the last one where its neighbor is in none.
    """
    known = {id(p) for group in groups for p in _list(group)}
    for group in groups:
        out: list[Tensor] = []
        for parameter in _list(group):
            out += replaced.get(id(parameter), (parameter,))
        own = {id(p) for p in out}
        out += [
            new
            for neighbor, new in joined
            if neighbor is not None and id(neighbor) in own and id(new) not in known
        ]
        group["params"] = out
    known = {id(p) for group in groups for p in _list(group)}
    if groups:
        late = [new for neighbor, new in joined if neighbor is None and id(new) not in known]
        groups[-1]["params"] = [*_list(groups[-1]), *late]


def _list(group: Group) -> list[Tensor]:
    found = group["params"]
    assert isinstance(found, list)
    return found


def hand_over(
    optimizer: Optimizer,
    replaced: Mapping[int, tuple[nn.Parameter, ...]],
    joined: Sequence[tuple[nn.Parameter | None, nn.Parameter]],
) -> None:
    """Tell an optimizer that exists about the model's new parameters; forget the old ones."""
    successors(optimizer.param_groups, replaced, joined)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for parameter in [p for p in optimizer.state if id(p) not in held]:
        del optimizer.state[parameter]
    for group in optimizer.param_groups:
        group.pop("param_names", None)

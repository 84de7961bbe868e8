"""See Keras at work on its torch backend: its optimizers and its layers are not torch's own."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, final

from torch import Tensor, nn

from .norms import Measured
from .scaling import Scaled

_BASE = "keras.src.optimizers.base_optimizer"
_SCALING = "keras.src.optimizers.loss_scale_optimizer"
_LAYER = "keras.src.layers.layer"


@final
class KerasOptimizer:
    """A Keras optimizer, as the parameter tier wants to see one.

    Held weakly. Keras' epsilon is added to √v before the correction of its bias, so the state
    has no step.
    """

    def __init__(self, optimizer: Any, variables: Sequence[Any]) -> None:  # noqa: ANN401 (Keras is not imported here)
        self._optimizer = weakref.ref(optimizer)
        self._variables = tuple(variables)
        self.name = type(optimizer).__name__

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Its variables and settings as one parameter group."""
        optimizer = self._optimizer()
        if optimizer is None:
            return [{"params": []}]
        held = vars(optimizer)
        group: dict[str, Any] = {"params": [v.value for v in self._variables]}
        group["lr"] = float(optimizer.learning_rate)
        if held.get("weight_decay") is not None:
            group["weight_decay"] = float(held["weight_decay"])
        if isinstance(held.get("momentum"), int | float):
            group["momentum"] = float(held["momentum"])
        if isinstance(held.get("beta_1"), float) and isinstance(held.get("beta_2"), float):
            group["betas"] = (held["beta_1"], held["beta_2"])
            if isinstance(held.get("epsilon"), float):
                group["eps"] = held["epsilon"]
        return [group]

    @property
    def state(self) -> Mapping[Tensor, Mapping[str, Any]]:
        """The second moments, where Adam or a relative of it keeps them."""
        optimizer = self._optimizer()
        moments = vars(optimizer).get("_velocities") if optimizer is not None else None
        if optimizer is None or not moments or "beta_2" not in vars(optimizer):
            return {}
        pairs = zip(self._variables, moments, strict=False)
        return {v.value: {"exp_avg_sq": m.value} for v, m in pairs if m is not None}


@dataclass(frozen=True, slots=True)
class _Replaced:
    """A method of a Keras class that is ours for now."""

    owner: type
    name: str
    original: Callable[..., object]
    ours: Callable[..., object]


@final
class KerasSeam:
    """Replaces Keras' `Optimizer.apply` and `Layer.__call__` for the time of an observation.

    Nothing here imports Keras: `look` finds it once the program has imported it.

    Args:
        before: told of a step that begins, with what a loss scale does to it.
        after: told that it has ended.
        call: runs a layer's call.
        failed: told of an exception in our own code.
    """

    def __init__(
        self,
        *,
        before: Callable[[KerasOptimizer, Scaled | None], None],
        after: Callable[[KerasOptimizer], None],
        call: Callable[[nn.Module, Callable[[], object], Sequence[object]], object],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._before, self._after, self._call, self._failed = before, after, call, failed
        self._known: weakref.WeakKeyDictionary[Any, KerasOptimizer] = weakref.WeakKeyDictionary()
        self._replaced: list[_Replaced] = []
        self._scale: Measured | None = None  # of the scaled step that runs now
        self._watching = False

    def attach(self) -> None:
        """Wait for Keras."""
        self._watching = True
        self.look()

    def look(self) -> None:
        """Put the seams in place as soon as Keras is there; cheap until then, and after."""
        if not self._watching or _LAYER not in sys.modules:
            return
        modules = [sys.modules.get(name) for name in (_BASE, _SCALING, _LAYER)]
        if any(module is None for module in modules):
            return
        self._watching = False
        try:
            self._replace_all(*[module for module in modules if module is not None])
        except Exception as error:  # noqa: BLE001 (never an exception of ours in the user's run)
            self.detach()
            self._failed("seeing Keras", error)

    def detach(self) -> None:
        """Put the originals back, where ours are still in place; harmless when done twice."""
        self._watching = False
        for each in self._replaced:
            if vars(each.owner).get(each.name) is each.ours:
                setattr(each.owner, each.name, each.original)
        self._replaced = []

    def _replace_all(self, base: ModuleType, scaling: ModuleType, layer: ModuleType) -> None:
        if sys.modules["keras"].backend.backend() != "torch":
            return
        self._replace(base.BaseOptimizer, "apply", self._apply)
        self._replace(scaling.LossScaleOptimizer, "apply", self._apply_scaled)
        self._replace(layer.Layer, "__call__", self._call_layer)

    def _replace(self, owner: type, name: str, run: Callable[..., object]) -> None:
        original = vars(owner)[name]

        def ours(instance: object, *args: object, **kwargs: object) -> object:
            return run(original, instance, args, kwargs)

        ours.__wrapped__ = original  # type: ignore[attr-defined]  # as functools.wraps does
        ours.__name__, ours.__doc__ = name, original.__doc__
        setattr(owner, name, ours)
        self._replaced.append(_Replaced(owner, name, original, ours))

    def _apply(
        self,
        original: Callable[..., object],
        optimizer: Any,  # noqa: ANN401
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        seen = self._begin(optimizer, _variables_given(args, kwargs))
        result = original(optimizer, *args, **kwargs)
        if seen is not None:
            self._after(seen)
        return result

    def _begin(self, optimizer: Any, given: object) -> KerasOptimizer | None:  # noqa: ANN401
        """Tell of a step; None where this call only accumulates."""
        try:
            factor = vars(optimizer).get("loss_scale_factor")
            scale, self._scale = self._scale, None
            scale = scale if scale is not None else factor
            every = vars(optimizer).get("gradient_accumulation_steps")
            if every and (int(optimizer.iterations) + 1) % every:
                return None
            known = self._adapted(optimizer, given)
            # Keras divides what it is given, not what the parameters hold
            self._before(known, None if scale is None else Scaled(scale, given=scale))
        except Exception as error:  # noqa: BLE001
            self._failed("looking at a Keras optimizer", error)
            return None
        return known

    def _adapted(self, optimizer: Any, given: Any) -> KerasOptimizer:  # noqa: ANN401
        known = self._known.get(optimizer)
        if known is None:
            variables = vars(optimizer).get("_trainable_variables") or given or ()
            known = self._known[optimizer] = KerasOptimizer(optimizer, variables)
        return known

    def _apply_scaled(
        self,
        original: Callable[..., object],
        optimizer: Any,  # noqa: ANN401
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        scale = self._scale = _scale_of(optimizer)
        result = original(optimizer, *args, **kwargs)
        if scale is not None and self._scale is scale:  # the optimizer inside was never called
            self._scale = None
            try:
                known = self._adapted(optimizer.inner_optimizer, _variables_given(args, kwargs))
                self._before(known, Scaled(scale, given=scale, skipped=1.0))
                self._after(known)
            except Exception as error:  # noqa: BLE001
                self._failed("looking at a step that Keras skipped", error)
        return result

    def _call_layer(
        self,
        original: Callable[..., object],
        layer: nn.Module,
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        return self._call(layer, lambda: original(layer, *args, **kwargs), args)


def _variables_given(args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    return args[1] if len(args) > 1 else kwargs.get("trainable_variables")


def _scale_of(optimizer: Any) -> Measured | None:  # noqa: ANN401
    try:
        value = optimizer.dynamic_scale.value
        return float(value.item()) if value.is_cpu else value.clone()
    except Exception:  # noqa: BLE001 (not built yet)
        return None

"""The seams of a running process: where steps, backward passes and forwards are seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from .._catalog import collect
from .._contracts import AbstractSink, AbstractStatistic
from .closures import StepArguments
from .compile_seam import CompiledCall, CompileSeam
from .joined import AnyOptimizer
from .keras_seam import KerasOptimizer, KerasSeam
from .parts import Parts
from .pass_seam import PassSeam
from .roll import Roll
from .scaling import Scaled, ScalerSeam
from .spies import OUTSIDE
from .strand import Strand
from .training import Training

_MOST_STRANDS = 16  # threads that train at the same time


@final
class Watch:
    """Sees every backward pass and optimizer step of the process while it is attached.

    Functions are replaced for the time of the observation: `torch.autograd.backward` and
    `torch.autograd.grad`, because nothing else sees the loss; `torch.amp.GradScaler.step`, because
    nothing else sees a step that it skips; and `torch.compile` with the call of what it returns,
    which our hooks would disturb and which is run once more, eagerly, on sampled steps. Everything
    else is PyTorch's own global hooks. `detach` restores the process as it was. Each thread that
    trains has its own strand.

    Args:
        model: the root module, where the user gave it.
        optimizer: observe only this one.
        budget: the observer's time over the bare training's.
        every: sample each N-th step instead.
        folder: where to record, None for memory only.
        sinks: what writes into the folder.
        script: its name, for the record.
        tape: whether the tape is read on sampled steps, or only the parameters.
    """

    def __init__(
        self,
        *,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
        budget: float = 0.01,
        every: int | None = None,
        folder: Path | None = None,
        sinks: Sequence[AbstractSink] = (),
        script: str = "",
        tape: bool = True,
    ) -> None:
        self._tape_on = tape
        self._statistics = _by_node() if tape else {}
        self._parts = Parts()
        self._roll = Roll(
            model=model,
            only=optimizer,
            budget=budget,
            every=every,
            folder=folder,
            sinks=sinks,
            script=script,
            parts=self._parts,
        )
        self._strands: dict[int, Strand] = {}
        self._scaler = ScalerSeam(self._skipped_step, self._parts.fail)
        self._compile = CompileSeam(self._call_compiled, self._leave_outside)
        self._keras = KerasSeam(
            before=self._before_keras_step,
            after=self._after_step,
            call=self._call_layer,
            failed=self._parts.fail,
        )
        self._anomaly_before = False
        self._handles: list[RemovableHandle] = []
        self._steps: list[RemovableHandle] = []
        self._passes = PassSeam(self._strand, self._parts)

    @property
    def trainings(self) -> list[Training]:
        """Every training seen, in the order of its first step."""
        return self._roll.trainings

    # -- attaching -------------------------------------------------------------------------

    def attach(self) -> None:
        """Put the seams in place."""
        self._anomaly_before = torch.is_anomaly_enabled()
        self._handles = [
            register_module_parameter_registration_hook(self._look_for_keras),
        ]
        self._steps = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._passes.attach()
        self._scaler.attach()
        self._compile.attach()
        self._keras.attach()
        strand = self._strand()
        try:
            if strand is not None:
                strand.arm()
        except Exception as error:  # noqa: BLE001 (the program starts without us)
            self._parts.fail("the reading of forward passes", error)

    def detach(self) -> None:
        """Restore the process as it was; harmless when done twice."""
        for handle in (*self._handles, *self._steps):
            handle.remove()
        self._handles, self._steps = [], []
        self._passes.detach()
        self._scaler.detach()
        self._compile.detach()
        self._keras.detach()
        for strand in self._strands.values():
            strand.end()
        # a `detect_anomaly` block of the program that began while ours was on has restored ours
        ours = torch.is_anomaly_enabled() and not torch.is_anomaly_check_nan_enabled()
        if ours and not self._anomaly_before:
            torch.set_anomaly_enabled(False)

    # -- to the strand of the thread -------------------------------------------------------

    def _strand(self) -> Strand | None:
        """Return the strand of the running thread.

        In a thread of autograd's own, as it has for accelerators, that of the one backward pass
        that runs; None where several run, or for a thread too many.
        """
        thread = threading.get_ident()
        known = self._strands.get(thread)
        if known is None and torch._C._current_graph_task_id() >= 0:  # noqa: SLF001
            running = [each for each in tuple(self._strands.values()) if each.in_backward]
            return running[0] if len(running) == 1 else None
        if known is None and len(self._strands) < _MOST_STRANDS:
            known = Strand(
                thread,
                self._roll,
                tape=self._tape_on,
                statistics=self._statistics,
                parts=self._parts,
            )
            self._strands[thread] = known
        return known

    def _before_step(
        self, optimizer: Optimizer, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> StepArguments | None:
        strand = self._strand()
        scaled = self._scaler.of(optimizer)
        return strand.before_step(optimizer, args, kwargs, scaled) if strand is not None else None

    def _after_step(
        self, optimizer: AnyOptimizer, args: object = None, kwargs: object = None
    ) -> None:
        strand = self._strand()
        if strand is not None:
            strand.after_step(optimizer)

    def _before_keras_step(self, optimizer: KerasOptimizer, scaled: Scaled | None) -> None:
        strand = self._strand()
        if strand is not None:
            strand.before_step(optimizer, (), {}, scaled)

    def _call_layer(
        self, layer: nn.Module, run: Callable[[], object], args: Sequence[object]
    ) -> object:
        strand = self._strand()
        return run() if strand is None else strand.call_layer(layer, run, args)

    def _look_for_keras(self, module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        self._keras.look()  # its layers register parameters before they first run

    def _call_compiled(self, call: CompiledCall) -> object:
        strand = self._strand()
        if strand is None:
            return call.run()
        others = (each for each in tuple(self._strands.values()) if each is not strand)
        # what makes an eager pass eager holds for the whole process
        return strand.call_compiled(call, alone=not any(each.trains for each in others))

    def _leave_outside(self) -> None:
        """The program compiles functions: what they call must not have hooks of ours."""
        if not self._parts.work(OUTSIDE):
            return
        self._parts.close(OUTSIDE)
        for strand in tuple(self._strands.values()):
            strand.leave_outside()
        # a function may train: while it runs, whatever Python it calls is compiled, ours too
        for handle in self._steps:
            handle.remove()
        apart = cast("Any", torch.compiler).disable
        self._steps = [
            register_optimizer_step_pre_hook(apart(self._before_step)),
            register_optimizer_step_post_hook(apart(self._after_step)),
        ]
        self._passes.stand_apart()

    def _skipped_step(self, optimizer: Optimizer, scaled: Scaled) -> None:
        strand = self._strand()
        if strand is not None:
            strand.before_step(optimizer, (), {}, scaled)
            strand.after_step(optimizer)

    # -- the end ---------------------------------------------------------------------------

    def finish(
        self,
        learn: Callable[[Training], Mapping[str, float]],
        *,
        interrupted: bool,
    ) -> None:
        """Write what is left of every training."""
        for training in self.trainings:
            training.interrupted = interrupted
            try:
                training.finish(learn)
            except Exception as error:  # noqa: BLE001 (the program has ended well without us)
                self._parts.fail("the last flush", error)


def _by_node() -> dict[str, list[AbstractStatistic]]:
    """Return the statistics by the base name of the nodes that they apply to."""
    out: dict[str, list[AbstractStatistic]] = {}
    for statistic in collect("gradfuga.stats", "STATISTIC", of=AbstractStatistic).values():  # type: ignore[type-abstract]
        for node in statistic.nodes:
            out.setdefault(node, []).append(statistic)
    return out

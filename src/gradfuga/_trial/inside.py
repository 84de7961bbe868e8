"""Look on inside a trial's child process, from the import of torch to the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import numpy as np

from .._observe import observe
from .._torch.held_out import HeldOut
from .._torch.memory import peak_bytes
from .._torch.optimizer_made import tell_first_optimizer
from .._torch.protection import guard_saving
from .._torch.seeding import Seeds
from .._torch.slice import Slice
from .._torch.transplant import Transplant
from .._types import DepthProfile
from ..analysis.build import build_case
from ..analysis.progress import measure_progress
from ..experiment import TrialRun
from ..readings import Readings
from .departure import departure
from .request import Order
from .shared import own_files, shared_modules

NO_STEP = "no step of an optimizer of torch.optim was seen"
NOT_PLACED = "nothing in the model fits the treatment."
_SAMPLES = 4  # light observation reads the tape about so often: the baseline needs few
_UNLIMITED = 256  # and each so many steps where the slice has no length
_STARTING = 16  # losses that tell whether two runs of one seed are the same
_MOST_DECADES = 308.0  # of a double: a gradient that overflows has more
_MOST_POINTS = 240  # chosen: points of a curve, as many as a chart of it has columns


@final
class Inside:
    """The observer of one run.

    Args:
        order: what was ordered.
        seeds: planted already for Python and NumPy.
        started: when the process began, by `time.monotonic`.
        over: called when the slice is used up; does not return.
    """

    def __init__(
        self, order: Order, *, seeds: Seeds, started: float, over: Callable[[], None]
    ) -> None:
        self._order, self._seeds = order, seeds
        seeds.plant_torch()
        guard_saving(order.report.parent, order.original)
        self._held_out = HeldOut()
        self._held_out.attach()
        script = order.place.script.name
        if order.record:
            self._observer = observe(out=order.record, script=script)
        else:
            every = math.ceil(order.steps / _SAMPLES) if order.steps else _UNLIMITED
            self._observer = observe(every=every, script=script, reference=False)
        self._observer.__enter__()
        self._over = over
        self._slice = Slice(
            steps=order.steps,
            seconds=order.seconds,
            started=started,
            over=over,
            stepped=self._stepped,
        )
        self._slice.attach()
        self._transplant = Transplant(order.edits, model=order.model)
        if order.edits:
            self._transplant.__enter__()
        tell_first_optimizer(lambda _optimizer: seeds.replant())  # after what the edits draw

    def measured(self, *, ended: bool, failed: str) -> TrialRun:
        """Stop observing and return what came of the run."""
        seed, part = self._order.seed, self._slice
        if part.steps == 0:
            return TrialRun(seed, failed=failed or NO_STEP, own_seeds=self._seeds.own)
        self._observer.close(interrupted=not ended)
        readings = self._judged()
        progress = measure_progress(readings)
        if failed and progress.nonfinite_step is not None:
            failed = ""  # it stopped at a loss that is not finite, and that is its result
        if not self._is_placed():
            failed = failed or self._unplaced()
        held_out = self._held_out.last
        score, known = scored(readings, held_out)
        steps, losses = thinned(readings)
        return TrialRun(
            seed=seed,
            steps=part.steps,
            curve_steps=steps,
            curve=losses,
            score=score,
            error=progress.error,
            known=known,
            loss=math.nan if progress.last is None else progress.last,
            held_out=held_out,
            depth=first_reach(readings),
            startup_seconds=part.startup_seconds,
            step_seconds=part.step_seconds,
            parameters=part.parameters,
            peak_bytes=peak_bytes(),
            ended=ended,
            start=tuple(float(loss) for loss in readings.losses[1][:_STARTING]),
            modules=shared_modules() if self._order.record else (),
            files=own_files(self._order.place) if self._order.record else (),
            copy=str(self._order.place.root),
            own_seeds=self._seeds.own,
            failed=failed,
        )

    def _stepped(self) -> None:
        self._held_out.stepped()
        at_gate = self._order.gated and self._slice.steps == 1
        at_hurdle = self._slice.steps == self._order.hurdle
        if (at_gate and not self._is_fed()) or (at_hurdle and not self._has_learned()):
            self._over()

    def _is_fed(self) -> bool:
        """Whether the edits have found their place, and the gradient reaches every layer."""
        return self._is_placed() and departure(first_reach(self._judged())) == 0.0

    def _is_placed(self) -> bool:
        """Whether every prescription has changed something: else its name would not be true."""
        return all(map(self._transplant.has_placed, self._order.prescriptions))

    def _has_learned(self) -> bool:
        return measure_progress(self._judged()).informed

    def _judged(self) -> Readings:
        """Return what has been read of the training that was ordered."""
        trainings = self._observer.trainings
        return trainings[min(self._order.training, len(trainings) - 1)]

    def _unplaced(self) -> str:
        """Say why no edit has found its place."""
        reasons = [why for done in self._transplant.operations for _edit, why in done.left]
        return " ".join([NOT_PLACED, *dict.fromkeys(reasons)])


def scored(readings: Readings, held_out: float | None) -> tuple[float, bool]:
    """Return the score of a training, and whether it is a progress.

    A progress below -1, and a loss that is not finite, count as -1: how far a training has
    diverged says nothing.
    """
    progress = measure_progress(readings)
    if progress.nonfinite_step is not None:
        return -1.0, True
    if progress.last is None:
        return math.nan, False
    loss = progress.last if held_out is None else held_out
    if not progress.known:
        return (-math.log(loss) if loss > 0 else math.nan), False
    if held_out is None:
        return max(-1.0, progress.u), True
    learnable = (progress.baseline - progress.last) / progress.u if progress.u else math.nan
    return max(-1.0, (progress.baseline - held_out) / learnable), True


def thinned(readings: Readings) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the losses as at most 240 means of successive steps, and their middle steps."""
    steps, losses = readings.losses
    if steps.size == 0:
        return (), ()
    parts = min(_MOST_POINTS, steps.size)
    middles = [int(part[len(part) // 2]) for part in np.array_split(steps, parts)]
    means = [float(part.mean()) for part in np.array_split(losses, parts)]
    return tuple(middles), tuple(means)


def first_reach(readings: Readings) -> DepthProfile:
    """Return the reach of every layer at the first sampled step, output first.

    Layers that were not read are left out; an exact zero of the gradient is -inf.
    """
    if not readings.sampled:
        return DepthProfile()
    case = build_case(readings)
    shown = [
        (layer.path, min(float(value), _MOST_DECADES))
        for value, layer in zip(case.reach[0], case.layers, strict=True)
        if not layer.gated and not math.isnan(value)
    ]
    paths, reach = tuple(path for path, _ in shown), tuple(value for _, value in shown)
    return DepthProfile(paths, reach, (0.0,) * len(reach))

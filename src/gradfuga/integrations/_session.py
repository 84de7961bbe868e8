"""What every callback does: observe from the first step to the last one, then diagnose."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, final

from torch import nn

from .._diagnose import diagnose
from .._errors import MissingExtraError, ObservationError
from .._messages import _
from .._observe import Observer, observe
from .._types import Diagnosis
from ..readings import Readings


@dataclass(frozen=True, slots=True)
class Settings:
    """How a callback observes: the arguments of `observe`, which says what they mean."""

    budget: float = 0.01
    every: int | None = None
    out: str | os.PathLike[str] | None = None


@final
class Session:
    """One observed training of a framework, from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._observer: Observer | None = None

    def start(self, model: nn.Module) -> None:
        """Begin to observe the training of `model`; what was seen before is forgotten."""
        self.stop()
        self.__dict__.pop("diagnosis", None)
        each = self._settings
        self._observer = observe(model, budget=each.budget, every=each.every, out=each.out)
        self._observer.__enter__()

    def stop(self, *, interrupted: bool = False) -> None:
        """Take every hook away; harmless when done twice."""
        if self._observer is not None:
            self._observer.close(interrupted=interrupted)

    @property
    def readings(self) -> Readings:
        """What was read so far.

        Raises:
            ObservationError: no training has begun.
        """
        return self._begun().readings

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """The verdict on what was read.

        Raises:
            ObservationError: no training has begun, or no optimizer has stepped.
        """
        trainings = self._begun().trainings
        return diagnose(trainings) if trainings else diagnose(self.readings)

    def _begun(self) -> Observer:
        if self._observer is None:
            raise ObservationError(
                _("expected a training that this callback was given to"),
                _("got none yet"),
                _("Hand the callback to the framework, train, then ask."),
            )
        return self._observer


def refuse_missing(package: str, extra: str, error: ImportError) -> NoReturn:
    """Say which extra is missing.

    Raises:
        MissingExtraError: always.
    """
    raise MissingExtraError(
        _("expected {package} for this callback").format(package=package),
        _("got none that can be imported"),
        _("Install it: pip install 'gradfuga[{extra}]'.").format(extra=extra),
    ) from error

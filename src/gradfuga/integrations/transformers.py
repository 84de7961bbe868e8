"""Observe a Hugging Face Trainer by a callback.

    callback = GradfugaCallback()
    Trainer(model=model, args=args, train_dataset=data, callbacks=[callback]).train()
    print(callback.diagnosis.summary)

The Trainer shows its callbacks gradients that are clipped already, and a loss whose NaN is
replaced by the running mean (`logging_nan_inf_filter`); what is recorded here is read in the
backward pass itself, before both.
"""

from __future__ import annotations

import os

from .._types import Diagnosis
from ..readings import Readings
from ._session import Session, Settings, refuse_missing

try:
    from transformers import TrainerCallback
except ImportError as error:
    refuse_missing("transformers", "transformers", error)


class GradfugaCallback(TrainerCallback):
    """Observes `Trainer.train` from its first to its last step.

    Args:
        budget: largest share of the training's time that observing may take.
        every: sample each N-th step instead.
        out: a folder to record into.
    """

    def __init__(
        self,
        *,
        budget: float = 0.01,
        every: int | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> None:
        self._session = Session(Settings(budget, every, out))

    def on_train_begin(
        self, args: object, state: object, control: object, **kwargs: object
    ) -> None:
        """Begin to observe."""
        self._session.start(kwargs["model"])  # type: ignore[arg-type]  # the Trainer gives a module

    def on_train_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
        """Observe no more."""
        self._session.stop()

    @property
    def readings(self) -> Readings:
        """What was read."""
        return self._session.readings

    @property
    def diagnosis(self) -> Diagnosis:
        """The verdict."""
        return self._session.diagnosis

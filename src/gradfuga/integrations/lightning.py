"""Observe a PyTorch Lightning training by a callback.

    callback = GradfugaCallback()
    Trainer(callbacks=[callback]).fit(module)
    print(callback.diagnosis.summary)

Works with automatic and manual optimisation and with every precision plugin: the gradients are
those before clipping, without a scaler's factor. Without the callback, ``gradfuga run`` sees the
same; with it, paths start at your LightningModule.
"""

from __future__ import annotations

import importlib
import os
import sys

from .._types import Diagnosis
from ..readings import Readings
from ._session import Session, Settings, refuse_missing

# `lightning` and `pytorch-lightning` are two packages with one content: take the one in use.
_HOME = "lightning.pytorch" if "lightning" in sys.modules else "pytorch_lightning"
try:
    _lightning = importlib.import_module(_HOME)
except ImportError as error:
    refuse_missing("pytorch-lightning", "lightning", error)


class GradfugaCallback(_lightning.Callback):  # type: ignore[name-defined, misc]  # found above
    """Observes `Trainer.fit` from its first to its last step.

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

    def on_train_start(self, trainer: object, pl_module: object) -> None:
        """Begin to observe."""
        self._session.start(pl_module)  # type: ignore[arg-type]  # Lightning has no stubs here

    def on_train_end(self, trainer: object, pl_module: object) -> None:
        """Observe no more."""
        self._session.stop()

    def on_exception(self, trainer: object, pl_module: object, exception: BaseException) -> None:
        """Observe no more: the training has raised."""
        self._session.stop(interrupted=isinstance(exception, KeyboardInterrupt))

    @property
    def readings(self) -> Readings:
        """What was read, of the longest training where several optimizers step."""
        return self._session.readings

    @property
    def diagnosis(self) -> Diagnosis:
        """The verdict."""
        return self._session.diagnosis

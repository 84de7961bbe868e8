"""Observe Keras 3 on its torch backend by a callback.

    callback = GradfugaCallback()
    model.fit(x, y, callbacks=[callback])
    print(callback.diagnosis.summary)

Layers have the paths that Keras gives them (`sequential/dense_1`), their variables follow after a
dot (`sequential/dense_1.kernel`). Other backends have no backward graph of torch to read.
"""

from __future__ import annotations

import os

from .._errors import UsageError
from .._messages import _
from .._types import Diagnosis
from ..readings import Readings
from ._session import Session, Settings, refuse_missing

try:
    import keras
except ImportError as error:
    refuse_missing("keras", "keras", error)


class GradfugaCallback(keras.callbacks.Callback):  # type: ignore[misc]  # has no complete types
    """Observes `fit` from its first to its last step.

    Args:
        budget: largest share of the training's time that observing may take.
        every: sample each N-th step instead.
        out: a folder to record into.

    Raises:
        UsageError: Keras runs on another backend than torch.
    """

    def __init__(
        self,
        *,
        budget: float = 0.01,
        every: int | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        backend = keras.backend.backend()
        if backend != "torch":
            raise UsageError(
                _("expected Keras on its torch backend"),
                _("got the backend '{name}'").format(name=backend),
                _('Set os.environ["KERAS_BACKEND"] = "torch" before Keras is imported.'),
            )
        self._session = Session(Settings(budget, every, out))

    def on_train_begin(self, logs: object = None) -> None:
        """Begin to observe."""
        self._session.start(self.model)

    def on_train_end(self, logs: object = None) -> None:
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

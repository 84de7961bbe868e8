"""The exceptions of gradfuga, in one tree.

::

    GradfugaError
    ├── UsageError          an argument, option or setting that cannot be meant
    │   └── UnknownCodeError    a rule or remedy code that does not exist
    ├── RunFolderError      a recorded run that cannot be read
    │   └── NewerSchemaError    written by a newer gradfuga
    ├── ObservationError    the training cannot be observed as asked
    ├── ConsentError        a repair that changes outputs, without consent
    ├── SurgeryError        a model that cannot be repaired as asked
    ├── TrialError          the untreated script cannot be tried
    ├── MissingExtraError   an optional dependency that is not installed
    └── CatalogError        two items claim one code, or a file declares none

An unhealthy network is not an exception: it is a `Diagnosis`.
"""

from __future__ import annotations


class GradfugaError(Exception):
    """The root of everything that gradfuga raises.

    Every message has three parts: what was expected, what came, what to write instead.
    """

    def __init__(self, expected: str, came: str, instead: str) -> None:
        self.expected = expected
        self.came = came
        self.instead = instead
        super().__init__(f"{expected}, {came}. {instead}")


class UsageError(GradfugaError):
    """An argument, option or setting that cannot be meant."""


class UnknownCodeError(UsageError):
    """A rule or remedy code that does not exist."""


class RunFolderError(GradfugaError):
    """A recorded run that cannot be read."""


class NewerSchemaError(RunFolderError):
    """A recorded run that was written by a newer gradfuga."""


class ObservationError(GradfugaError):
    """The training cannot be observed as asked."""


class ConsentError(GradfugaError):
    """A repair that changes what the model computes, without the user's consent."""


class SurgeryError(GradfugaError):
    """A model that cannot be repaired as asked."""


class TrialError(GradfugaError):
    """The untreated script cannot be tried."""


class MissingExtraError(GradfugaError):
    """An optional dependency that is not installed."""


class CatalogError(GradfugaError):
    """Two items claim one code, or a file declares none."""

"""Find where the gradients of a PyTorch network vanish or explode, and say why.

Two lines observe a training and judge it::

    with gradfuga.observe(model, optimizer) as observer:
        ...  # your training loop, unchanged
    print(gradfuga.diagnose(observer.readings).summary)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._errors import GradfugaError as GradfugaError
from ._types import Diagnosis as Diagnosis
from ._types import Finding as Finding
from ._types import Severity as Severity
from ._types import Verdict as Verdict

if TYPE_CHECKING:
    from ._diagnose import diagnose as diagnose
    from ._observe import Observer as Observer
    from ._observe import observe as observe
    from ._prescribe import prescribe as prescribe
    from ._repair import repair as repair
    from ._trial import trial as trial
    from .readings import Readings as Readings

__version__ = "0.1.0"

# What needs NumPy or torch is loaded at its first use (PEP 562), so that `gradfuga --help` and
# `gradfuga explain` answer at once.
_LAZY = {
    "Observer": "_observe",
    "Readings": "readings",
    "diagnose": "_diagnose",
    "observe": "_observe",
    "prescribe": "_prescribe",
    "repair": "_repair",
    "trial": "_trial",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        import importlib  # noqa: PLC0415

        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])

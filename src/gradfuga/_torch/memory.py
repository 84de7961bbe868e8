"""Say how much memory a process has held at most."""

from __future__ import annotations

import sys

import torch


def peak_bytes() -> int:
    """Return the most memory held so far: the accelerator's where one is used, else the process's.

    0 where the system does not tell.
    """
    if torch.cuda.is_available() and torch.cuda.memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        return 0
    import resource  # noqa: PLC0415 (there is none on Windows)

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

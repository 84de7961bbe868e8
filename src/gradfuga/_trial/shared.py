"""Name what one process of a trial has imported and the next may find imported."""

from __future__ import annotations

import sys

# Packages that may be imported ahead where the script uses them: slow to import, and known to
# start no threads and to open no device while they are.
SHARED = frozenset(
    {"sklearn", "scipy", "pandas", "matplotlib", "PIL", "torchvision", "transformers", "joblib"}
)


def shared_modules() -> tuple[str, ...]:
    """Return the modules of this process that a server may import ahead for the next one."""
    return tuple(name for name in sys.modules if name.partition(".")[0] in SHARED)

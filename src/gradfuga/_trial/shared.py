"""Name what one process of a trial has imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .scratch import Place

# Packages that may be imported ahead where the script uses them: slow to import, and known to
# start no threads and to open no device while they are.
SHARED = frozenset(
    {"sklearn", "scipy", "pandas", "matplotlib", "PIL", "torchvision", "transformers", "joblib"}
)


def shared_modules() -> tuple[str, ...]:
    """Return the modules of this process that a server may import ahead for the next one."""
    return tuple(name for name in sys.modules if name.partition(".")[0] in SHARED)


def own_files(place: Place) -> tuple[str, ...]:
    """Return the user's files that this process runs, within the project, the script first."""
    found = {str(place.script.relative_to(place.root)): None}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        real = Path(os.path.realpath(file))
        if real.is_relative_to(place.root):
            found[str(real.relative_to(place.root))] = None
    return tuple(found)

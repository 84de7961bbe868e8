"""A trial: treatments of a script, tried in child processes against the untreated script."""

from __future__ import annotations

from .verb import trial as trial

"""Say the gradient along time: in one line, and as a section of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .._messages import _
from .._types import TimeProfile
from . import _words as words
from ._parts import card

if TYPE_CHECKING:
    from ..analysis.case import Case

DEEPEST = 6.0  # decades: a full line of the curve; what lies lower is blank (chosen)


def sparkline(profile: TimeProfile, levels: str, width: int) -> str:
    """Return the curve as characters of `levels`, lowest first: the left end is next to the loss.

    Full where the gradient is as large as at lag 1 or larger, blank six decades below.

    Example:
        >>> profile = TimeProfile("w", "forward", (1, 2, 3, 4), (1.0, 1e-2, 1e-4, 1e-8), 0.01, 2.5)
        >>> sparkline(profile, " .:-=+*#", 4)
        '#=: '
    """
    last, start = profile.lag[-1], profile.norm[0]
    if not start > 0.0:
        return ""
    count = min(width, last)
    out = []
    for place in range(count):
        wanted = 1 + place * (last - 1) / max(count - 1, 1)
        index = min(range(len(profile.lag)), key=lambda k: abs(profile.lag[k] - wanted))
        norm = profile.norm[index]
        decades = math.log10(norm / start) if norm > 0.0 else -math.inf
        share = min(max(1.0 + decades / DEEPEST, 0.0), 1.0)
        out.append(levels[int(share * (len(levels) - 1))])
    return "".join(out)


def time_text(profile: TimeProfile) -> str:
    """Return rate and horizon of a recurrence in words."""
    path = words.clean(words.layer_name(profile.path))
    if math.isnan(profile.rate):
        return path
    rate = f"{profile.rate:.3g}"
    if math.isfinite(profile.horizon):
        text = _("{path}: {rate} a step, a thousandth left after {horizon} of {steps} steps")
        return text.format(
            path=path, rate=rate, horizon=f"{profile.horizon:.0f}", steps=profile.lag[-1] + 1
        )
    text = _("{path}: {rate} a step, over all {steps} steps")
    return text.format(path=path, rate=rate, steps=profile.lag[-1] + 1)


def time_section(case: Case | None, number: int, charts: Mapping[str, str]) -> str:
    """Return the page's section on time, nothing for a model without a time axis."""
    curve, heat = charts.get(f"lags-{number}", ""), charts.get(f"lag-heat-{number}", "")
    gates = charts.get(f"gates-{number}", "")
    if case is None or not curve:
        return ""
    left = card(
        _("Gradient over time"),
        curve,
        _(
            "For a loss at one time: the gradient at the joint state so many steps before, against "
            "that at the loss, with its spread over the examples. The horizon is where a "
            "thousandth is left."
        ),
        tag="div",
    )
    right = card(
        _("Time over the training"),
        heat,
        _("The same, in decades, over the sampled steps: cold has faded, hot has grown."),
        tag="div",
    )
    third = card(
        _("Gates"),
        gates,
        _("The mean share of the state that the gates keep each step."),
        tag="div",
    )
    return f"<div class='pair wide'>{left}{right if heat else ''}</div>{third if gates else ''}"

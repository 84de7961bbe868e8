"""Draw the gradient along time: against the lag, over the training, and the gates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.plotting import figure

from .._messages import _
from .._types import Kind
from ..analysis.case import Case
from ..analysis.lag_profile import LagProfile
from ..analysis.memory import probed_steps
from ..analysis.remembering import Memory, memory_of
from ..analysis.time_causes import predicted_rate
from ..theory.recurrent import HORIZON
from ._frame import ACCENT, COLD, FONT, GREY, HOT, INK, frame, legend_above, plain, ramp
from ._thin import spread_out

MOST_CURVES = 4  # chosen: recurrences drawn, the farthest-reaching first
MOST_PROBES = 60  # chosen: columns of the map over the training
_LOWEST = 1e-12  # chosen: a curve below it is off the chart; nothing is learned from it
_COLORS = (ACCENT, COLD, HOT, INK)


def time_charts(case: Case, number: int) -> tuple[figure | None, ...]:
    """Return the charts ``lags``, ``lag-heat`` and ``gates``, None where nothing was measured."""
    shown = _farthest(case)
    if not shown:
        return ()
    return lag_chart(case, shown, number), lag_map(case, shown[0], number), gate_chart(case, number)


def _farthest(case: Case) -> list[LagProfile]:
    known = [each for each in case.late_lags if len(each.lag) > 1]
    return sorted(known, key=lambda each: -each.reach)[:MOST_CURVES]


def lag_chart(case: Case, shown: Sequence[LagProfile], number: int) -> figure:
    """Draw the gradient against the lag: measured at the end and at the start, and predicted.

    With the lag that the task needs, where that is known.
    """
    plot = frame(
        f"lags-{number}",
        x_label=_("steps before the loss"),
        y_label=_("gradient"),
        height=320,
        y_axis_type="log",
    )
    start = {each.path: each for each in case.first_lags}
    lines = []
    for profile, color in zip(shown, _COLORS, strict=False):
        label = plain(profile.path)
        source = _curve(profile)
        lines.append(
            plot.line("lag", "norm", source=source, color=color, line_width=2.2, legend_label=label)
        )
        plot.varea("lag", "low", "high", source=source, fill_color=color, fill_alpha=0.15)
        before = start.get(profile.path)
        if before is not None and before.step != profile.step:
            plot.line(
                "lag", "norm", source=_curve(before), color=color, line_dash="dashed",
                line_alpha=0.7, legend_label=_("before any update"),
            )  # fmt: skip
        rate = predicted_rate(case, profile)
        if rate > 0.0 and 0.0 < profile.norm[0] < math.inf:
            lags = np.asarray(profile.lag, dtype=np.float64)
            decades = math.log10(profile.norm[0]) + (lags - lags[0]) * math.log10(rate)
            kept = np.abs(decades) < -math.log10(_LOWEST)
            plot.line(
                lags[kept], 10.0 ** decades[kept], color=GREY, line_dash="dotted", line_width=2,
                legend_label=_("predicted"),
            )  # fmt: skip
        if math.isfinite(profile.horizon):
            plot.scatter(
                [profile.horizon], [max(HORIZON * profile.norm[0], _LOWEST)], size=11, color=color,
                marker="diamond", legend_label=_("horizon"),
            )  # fmt: skip
    _mark_needed(plot, memory_of(case), shown)
    ticks = range(-12, 13, 2)
    plot.yaxis.ticker = FixedTicker(ticks=[10.0**d for d in ticks])
    plot.yaxis.major_label_overrides = {10.0**d: f"1e{d}" if d else "1" for d in ticks}
    plot.add_tools(
        HoverTool(
            renderers=lines,
            tooltips=[(_("lag"), "@lag{0}"), (_("gradient"), "@text")],
        )
    )
    legend_above(plot, columns=2)
    return plot


def _mark_needed(plot: figure, memory: Memory, shown: Sequence[LagProfile]) -> None:
    """Draw how far back the task reaches, as the user says or as the examples show."""
    if memory.needed <= 0:
        return
    norms = [norm for each in shown for norm in each.norm if _LOWEST < norm < math.inf]
    if not norms:
        return
    label = _("needed, as stated: {steps}") if memory.stated else _("needed at least: {steps}")
    plot.line(
        [memory.needed] * 2, [min(norms), max(norms)], color=HOT, line_width=2,
        line_dash="dotdash", legend_label=label.format(steps=memory.needed),
    )  # fmt: skip


def _curve(profile: LagProfile) -> ColumnDataSource:
    """Return the curve with its spread over the examples, as far as it is on the chart."""
    rows = [
        (lag, norm, spread)
        for lag, norm, spread in zip(profile.lag, profile.norm, profile.spread, strict=True)
        if _LOWEST < norm < math.inf
    ]
    lag, norm, spread = zip(*rows, strict=True) if rows else ((), (), ())
    values, width = np.asarray(norm), 10.0 ** np.asarray(spread)
    return ColumnDataSource(
        {
            "lag": list(lag),
            "norm": values,
            "low": np.maximum(values / width, _LOWEST) if rows else values,
            "high": values * width if rows else values,
            "text": [f"{value:.2g}" for value in norm],
        }
    )


def lag_map(case: Case, profile: LagProfile, number: int) -> figure | None:
    """Draw the gradient over lag and training step of the recurrence that reaches farthest."""
    probes = probed_steps(case.readings, profile.path)
    if len(probes) <= 1:
        return None
    steps = [probes[place] for place in spread_out(len(probes), MOST_PROBES)]
    cells = np.full((len(profile.lag), len(steps)), np.nan)
    for row, lag in enumerate(profile.lag):
        values = case.readings.matrix(
            [profile.path], Kind.ACTIVATION_GRAD, f"lag_norm.{lag}", steps
        )[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            cells[row] = np.clip(np.log10(values), math.log10(_LOWEST), -math.log10(_LOWEST))
    finite = cells[np.isfinite(cells)]
    if not finite.size:
        return None
    edge = max(3.0, float(np.percentile(np.abs(finite), 99.0)))
    plot = frame(
        f"lag-heat-{number}",
        x_label=_("sampled step"),
        y_label=_("steps before the loss"),
        height=320,
        x_range=Range1d(0, len(steps)),
        y_range=Range1d(0, len(profile.lag)),
    )
    plot.grid.visible = False
    mapper = LinearColorMapper(
        name=f"ramp-lags-{number}", palette=ramp(dark=False), low=-edge, high=edge, nan_color=GREY
    )
    image = plot.image(
        image=[cells.astype(np.float32)],
        x=0,
        y=0,
        dw=len(steps),
        dh=len(profile.lag),
        color_mapper=mapper,
    )
    across = spread_out(len(steps), 6)
    plot.xaxis.ticker = FixedTicker(ticks=[index + 0.5 for index in across])
    plot.xaxis.major_label_overrides = {index + 0.5: f"{steps[index]}" for index in across}
    up = spread_out(len(profile.lag), 8)
    plot.yaxis.ticker = FixedTicker(ticks=[index + 0.5 for index in up])
    plot.yaxis.major_label_overrides = {index + 0.5: f"{profile.lag[index]}" for index in up}
    plot.add_layout(
        ColorBar(
            color_mapper=mapper,
            orientation="horizontal",
            height=9,
            width="auto",
            padding=4,
            background_fill_alpha=0.0,
            bar_line_color=None,
            major_label_text_font=FONT,
        ),
        "above",
    )
    plot.add_tools(HoverTool(renderers=[image], tooltips=[(_("decades"), "@image{0.0}")]))
    return plot


def gate_chart(case: Case, number: int) -> figure | None:
    """Draw the share that the gates keep over the training; None without gates."""
    found = [
        (profile.path, *case.readings.series(profile.path, Kind.ACTIVATION, "gate_keep"))
        for profile in _farthest(case)
    ]
    found = [each for each in found if len(each[1]) > 1]
    if not found:
        return None
    plot = frame(
        f"gates-{number}",
        x_label=_("step"),
        y_label=_("share kept"),
        height=220,
        y_range=Range1d(0.0, 1.0),
    )
    for (path, steps, values), color in zip(found, _COLORS, strict=False):
        plot.line(steps, values, color=color, line_width=2.2, legend_label=plain(path))
    legend_above(plot, columns=2)
    return plot

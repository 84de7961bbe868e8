"""Draw a trial: the paired loss curves with their bands, and the reach before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d, Span
from bokeh.plotting import figure

from .._messages import _
from ..experiment import Arm, Trial
from . import _words as words
from ._frame import ACCENT, COLD, GREY, HOT, INK, frame, legend_above, plain
from .charts import LOG_FROM, log_ticks
from .trial_text import arm_title, mean_curve

MARGIN = 1.15  # chosen: room above and below the curves
MOST_LABELS = 20  # chosen: layer names beside an axis before they touch


def draw_trial(trial: Trial) -> dict[str, figure]:
    """Draw what the trial has runs for, by name: ``trial-loss``, ``trial-reach``."""
    drawn = (loss_curves(trial), reach_before_and_after(trial))
    return {str(plot.name): plot for plot in drawn if plot is not None}


def loss_curves(trial: Trial) -> figure | None:
    """Draw each arm's mean loss; a band from the lowest to the highest seed for the two compared.

    None where the untreated arm has no curve, or no loss is finite.
    """
    untreated, treated = trial.untreated, trial.treated
    if untreated is None or mean_curve(untreated)[1].size <= 1:
        return None
    shown = [(untreated, GREY, True)]
    shown += [(arm, INK, False) for arm in trial.tried if treated is None or arm is not treated]
    if treated is not None:
        shown = [each for each in shown if each[0].treatment is not treated.treatment]
        shown.append((treated, ACCENT, True))
    if trial.patched is not None:
        shown.append((trial.patched, COLD, True))
    shown = [each for each in shown if not each[0].failed and mean_curve(each[0])[1].size > 1]
    low, high = _span([arm for arm, _color, band in shown if band])
    if not math.isfinite(high):
        return None
    log = low > 0.0 and high / low > LOG_FROM
    around = (low / MARGIN, high * MARGIN) if log else _widened(low, high)
    plot = frame(
        "trial-loss",
        x_label=_("step"),
        y_label=_("training loss"),
        height=340,
        y_axis_type="log" if log else "linear",
        y_range=Range1d(*around),  # a treatment that diverges leaves the picture, and only that
    )
    if log:
        ticks = log_ticks(low, high)
        plot.yaxis.ticker = FixedTicker(ticks=ticks)
        plot.yaxis.major_label_overrides = {tick: f"{tick:g}" for tick in ticks}
    for arm, color, band in shown:
        patched = trial.patched is not None and arm is trial.patched
        _draw_arm(plot, arm, color, band=band, dash="dashed" if patched else "solid")
    legend_above(plot, columns=1)
    return plot


def _span(arms: Sequence[Arm]) -> tuple[float, float]:
    """Return the lowest and the highest finite loss of all seeds of `arms`; NaN without any."""
    losses = np.concatenate([np.asarray(run.curve) for arm in arms for run in arm.runs])
    losses = losses[np.isfinite(losses)]
    return (float(losses.min()), float(losses.max())) if losses.size else (math.nan, math.nan)


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = (MARGIN - 1.0) * (high - low) or 1.0
    return low - margin, high + margin


def _draw_arm(plot: figure, arm: Arm, color: str, *, band: bool, dash: str) -> None:
    steps, mean = mean_curve(arm)
    same = [run.curve for run in arm.runs if run.curve_steps == tuple(steps.tolist())]
    losses = np.array(same, dtype=np.float64)
    source = ColumnDataSource(
        {"step": steps, "loss": mean, "low": losses.min(axis=0), "high": losses.max(axis=0)}
    )
    if band:
        plot.varea("step", "low", "high", source=source, fill_color=color, fill_alpha=0.22)
    line = plot.line(
        "step",
        "loss",
        source=source,
        line_color=color,
        line_width=2.2 if band else 1.0,
        line_alpha=1.0 if band else 0.45,
        line_dash=dash,
        **({"legend_label": plain(arm_title(arm))} if band else {}),
    )
    tooltips = [("", plain(arm_title(arm))), (_("step"), "@step{0}"), (_("loss"), "@loss{0.0000a}")]
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips))


def reach_before_and_after(trial: Trial) -> figure | None:
    """Draw the reach of every layer before the first step, untreated and treated."""
    untreated, treated = trial.untreated, trial.treated
    if untreated is None or treated is None or not untreated.runs or not treated.runs:
        return None
    before, after = untreated.runs[0].depth, treated.runs[0].depth
    if not before.path or not np.isfinite(before.reach).any():
        return None
    now = dict(zip(after.path, after.reach, strict=True))
    rows = len(before.path)
    first = np.array(before.reach, dtype=np.float64)
    last = np.array([now.get(path, math.nan) for path in before.path])
    finite = np.concatenate([first[np.isfinite(first)], last[np.isfinite(last)]])
    left = min(-2 * words.LIMIT, float(finite.min()) * 1.06 - 0.2)
    right = max(2 * words.LIMIT, float(finite.max()) * 1.06 + 0.2)
    plot = frame(
        "trial-reach",
        x_label=_("reach (decades)"),
        height=min(max(130 + 22 * rows, 260), 620),
        x_range=Range1d(left, right),
        y_range=Range1d(rows - 0.5, -0.5),
    )
    for limit, color in ((-words.LIMIT, COLD), (words.LIMIT, HOT)):
        plot.add_layout(
            Span(location=limit, dimension="height", line_color=color, line_dash="dashed")
        )
    source = ColumnDataSource(
        {
            "row": list(range(rows)),
            "path": [plain(words.layer_name(path)) for path in before.path],
            "before": first,
            "after": last,
            "was": [words.decades_text(value) for value in first],
            "is": [words.decades_text(value) for value in last],
        }
    )
    plot.segment(
        x0="before", x1="after", y0="row", y1="row", source=source, line_color=INK, line_alpha=0.4
    )
    for column, color, label in (
        ("before", GREY, _("untreated")),
        ("after", ACCENT, _("treated")),
    ):
        dots = plot.scatter(column, "row", source=source, size=8, color=color, legend_label=label)
        plot.add_tools(
            HoverTool(
                renderers=[dots],
                tooltips=[
                    (_("layer"), "@path"),
                    (_("untreated"), "@was"),
                    (_("treated"), "@is"),
                ],
            )
        )
    shown = range(0, rows, math.ceil(rows / MOST_LABELS) or 1)
    plot.yaxis.ticker = FixedTicker(ticks=list(shown))
    plot.yaxis.major_label_overrides = {
        row: plain(words.layer_name(before.path[row])) for row in shown
    }
    plot.ygrid.visible = False
    legend_above(plot, columns=2)
    return plot

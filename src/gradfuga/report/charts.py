"""Draw one training: loss, reach over depth, reach over steps and layers, the account."""

from __future__ import annotations

import math

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d, Span
from bokeh.plotting import figure

from .._messages import _
from ..analysis.account import UNEXPLAINED, Account
from ..analysis.case import Case
from . import _words as words
from ._depth_charts import heat_map, layer_source, reach_chart
from ._frame import ACCENT, COLD, GREY, HOT, INK, frame, legend_above
from ._thin import MOST_POINTS, envelope, spread_out
from ._time_charts import time_charts

MOST_MARKS = 120  # chosen: marks of sampled steps on the loss curve
MOST_DECADES, FEW_DECADES = 6, 4  # chosen: ticks that fit beside a loss curve
LOG_FROM = 20.0  # chosen: a loss that spans more than this factor is drawn on a log axis


def draw(case: Case, number: int, *, account: bool) -> dict[str, figure]:
    """Draw every chart that `case` has the readings for, by name: ``loss-0``, ``reach-0``, ...

    `account` says whether the waterfall is wanted.
    """
    source = layer_source(case, number)
    reach = reach_chart(case, source, number)
    drawn = (
        loss_chart(case, number),
        reach,
        heat_map(case, source, number, beside=reach),
        waterfall(case.blamed, number) if account else None,
        *time_charts(case, number),
    )
    return {str(plot.name): plot for plot in drawn if plot is not None}


def loss_chart(case: Case, number: int) -> figure | None:
    """Draw the loss with the sampled steps and the best constant's loss; None without a curve."""
    steps, losses = case.readings.losses
    curve = envelope(steps.astype(np.float64), losses)
    if len(curve.x) <= 1:
        return None
    low, high = float(curve.low.min()), float(curve.high.max())
    log = low > 0.0 and high / low > LOG_FROM
    plot = frame(
        f"loss-{number}",
        x_label=_("step"),
        y_label=_("loss"),
        height=280,
        y_axis_type="log" if log else "linear",
    )
    if log:
        ticks = log_ticks(low, high)
        plot.yaxis.ticker = FixedTicker(ticks=ticks)
        plot.yaxis.major_label_overrides = {tick: f"{tick:g}" for tick in ticks}
    source = ColumnDataSource(
        {"step": curve.x, "loss": curve.mean, "low": curve.low, "high": curve.high}
    )
    if len(losses) > MOST_POINTS:
        plot.varea("step", "low", "high", source=source, fill_color=ACCENT, fill_alpha=0.25)
    line = plot.line("step", "loss", source=source, line_color=ACCENT, line_width=1.6)
    sampled = np.asarray(case.steps, dtype=np.float64)[spread_out(len(case.steps), MOST_MARKS)]
    plot.scatter(
        sampled,
        np.interp(sampled, curve.x, curve.mean),
        size=5,
        fill_color=None,
        line_color=INK,
        legend_label=_("sampled step"),
    )
    if case.progress.known and math.isfinite(case.progress.baseline):
        plot.line(
            [float(steps[0]), float(steps[-1])],
            [case.progress.baseline] * 2,
            line_color=HOT,
            line_dash="dashed",
            line_width=1.5,
            legend_label=_("best constant prediction"),
        )
    if case.progress.nonfinite_step is not None:
        plot.add_layout(
            Span(
                location=case.progress.nonfinite_step,
                dimension="height",
                line_color=HOT,
                line_width=2,
            )
        )
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            tooltips=[(_("step"), "@step{0}"), (_("loss"), "@loss{0.0000a}")],
        )
    )
    legend_above(plot, columns=2)
    return plot


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between `low` and `high`: 1, 2, 5 a decade, or whole decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = math.ceil(len(decades) / MOST_DECADES)
    few = len(decades) <= FEW_DECADES
    mantissas = (1, 2, 5) if few else (1,)
    # read from text, 0.2 is what it says; as 2 * 10**-1 it may be off by a bit
    ticks = [float(f"{m}e{decade}") for decade in decades[::every] for m in mantissas]
    return [tick for tick in ticks if low / 2 <= tick <= high * 2]


def waterfall(account: Account, number: int) -> figure | None:
    """Draw how the causes' claims add up to the reach of the deepest layer."""
    steps = waterfall_steps(account)
    if not steps or not all(math.isfinite(decades) for _name, decades in steps):
        return None
    ends = np.cumsum([decades for _name, decades in steps])
    starts = ends - [decades for _name, decades in steps]
    labels = [words.cause_word(name) for name, _decades in steps] + [_("all together")]
    values = [decades for _name, decades in steps] + [account.total]
    colors = [
        GREY if name == UNEXPLAINED else COLD if decades < 0 else HOT for name, decades in steps
    ]
    low, high = min(0.0, float(ends.min()), account.total), max(0.0, float(ends.max()))
    room = 0.03 * max(high - low, 0.1)
    rows = len(labels)
    plot = frame(
        f"account-{number}",
        x_label=_("decades"),
        height=70 + 44 * rows,
        x_range=Range1d(low - room, high + room),
        y_range=Range1d(rows - 0.5, -0.5),
    )
    left, right = [*starts.tolist(), 0.0], [*ends.tolist(), account.total]
    source = ColumnDataSource(
        {
            "row": list(range(rows)),
            "label": labels,
            "left": left,
            "right": right,
            "text": [words.decades_text(value) for value in values],
            "factor": [words.factor_words(value) for value in values],
            "color": [*colors, INK],
        }
    )
    plot.add_layout(Span(location=0.0, dimension="height", line_color=INK, line_alpha=0.5))
    plot.segment(
        x0=ends,
        x1=ends,
        y0=np.arange(rows - 1),
        y1=np.arange(1, rows),
        line_color=INK,
        line_dash="dotted",
    )
    bars = plot.hbar(
        y="row", height=0.56, left="left", right="right", source=source, color="color", name="bars"
    )
    plot.yaxis.ticker = FixedTicker(ticks=list(range(rows)))
    plot.yaxis.major_label_overrides = {
        row: f"{label}\n{words.decades_text(decades)}"
        for row, (label, decades) in enumerate(zip(labels, values, strict=True))
    }
    plot.ygrid.visible = False
    plot.add_tools(
        HoverTool(renderers=[bars], tooltips=[("", "@label"), (_("decades"), "@text (@factor)")])
    )
    return plot


def waterfall_steps(account: Account) -> list[tuple[str, float]]:
    """Return every cause with the sum of its claims, largest first, the unexplained rest last.

    They add up to `account.total`, as the claims do.
    """
    sums: dict[str, float] = {}
    for claim in account.claims:
        sums[claim.cause] = sums.get(claim.cause, 0.0) + claim.decades
    rest = sums.pop(UNEXPLAINED, None)
    ordered = sorted(sums.items(), key=lambda item: -abs(item[1]))
    return ordered if rest is None else [*ordered, (UNEXPLAINED, rest)]
